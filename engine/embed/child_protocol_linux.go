package embed

import (
	"errors"

	resolverconfig "github.com/moby/buildkit/util/resolver/config"
)

// childName is the child's argv[0], by which ChildMain knows that it is one.
const childName = "ibuild-engine"

// The child's inherited file descriptors.
const (
	fdConfig   = 3 + iota // to read: a childConfig; then nothing until EOF, which means stop
	fdReport              // to write: one childReport
	fdListener            // the listening socket; absent for a probe
	fdLock                // the state folder's lock, held by being open; absent for a probe
)

// childConfig is all that the child is told.
type childConfig struct {
	Root             string
	Snapshotter      string
	RuntimePath      string
	Registries       map[string]resolverconfig.RegistryConfig
	AllowHostNetwork bool
	MaxParallelism   int
	MaxSize          int64
	Log, Debug       bool
	// PIDNamespace says that the child is in a PID namespace of its own, as
	// process 1: whatever it leaves behind dies with it.
	PIDNamespace bool
	// Probe asks only which snapshotter works.
	Probe bool
}

// newChildConfig is what a child needs of a Config.
func newChildConfig(cfg Config, runtimePath string) childConfig {
	return childConfig{
		Root:             cfg.Root,
		Snapshotter:      cfg.Snapshotter,
		RuntimePath:      runtimePath,
		Registries:       cfg.Registries,
		AllowHostNetwork: cfg.AllowHostNetwork,
		MaxParallelism:   cfg.MaxParallelism,
		MaxSize:          cfg.MaxSize,
		Log:              cfg.Log != nil,
		Debug:            cfg.Debug,
		PIDNamespace:     !procMasked(),
	}
}

// childReport is the child's one message: what it is, or why it is not.
type childReport struct {
	About  *About        `json:",omitempty"` // of an engine that is ready
	Choice *Choice       `json:",omitempty"` // the answer to a probe
	Error  *childFailure `json:",omitempty"`
}

// childFailure carries an error from the child to the parent.
type childFailure struct {
	Message string
	Setup   *setupFailure `json:",omitempty"` // for a *SetupError
	NoProc  bool          `json:",omitempty"` // for errNoProc
}

type setupFailure struct {
	Kind                 SetupKind
	Problem, Hint, Cause string
}

// errNoProc says that the kernel refused a fresh /proc for a PID namespace.
var errNoProc = errors.New("a fresh /proc cannot be mounted")

func newChildFailure(err error) *childFailure {
	f := &childFailure{Message: err.Error(), NoProc: errors.Is(err, errNoProc)}
	var setup *SetupError
	if errors.As(err, &setup) {
		f.Setup = &setupFailure{Kind: setup.Kind, Problem: setup.Problem, Hint: setup.Hint}
		if setup.Err != nil {
			f.Setup.Cause = setup.Err.Error()
		}
	}
	return f
}

// err is the error as the parent returns it.
func (f *childFailure) err() error {
	switch {
	case f.NoProc:
		return errNoProc
	case f.Setup != nil:
		e := &SetupError{Kind: f.Setup.Kind, Problem: f.Setup.Problem, Hint: f.Setup.Hint}
		if f.Setup.Cause != "" {
			e.Err = errors.New(f.Setup.Cause)
		}
		return e
	}
	return &ChildError{Message: f.Message}
}
