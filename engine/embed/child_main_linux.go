package embed

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// ChildMain turns the process into the engine's child if it was started as one,
// and then does not return. In any other process it returns at once. It must be
// called first in main, and in TestMain of test binaries that start an engine.
func ChildMain() {
	if len(os.Args) == 0 || os.Args[0] != childName {
		return
	}
	// Programs that the engine starts must not inherit these: a file system
	// daemon would hold the lock for as long as it lives.
	for fd := fdConfig; fd <= fdLock; fd++ {
		unix.CloseOnExec(fd)
	}
	if err := childMain(os.NewFile(fdConfig, "config"), os.NewFile(fdReport, "report")); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// childMain runs the engine until config ends. Errors of the start go to report,
// later ones are returned.
func childMain(config io.Reader, report io.WriteCloser) error {
	// The parent sends the config only after it has mapped the ids, so that this
	// process is root in its user namespace from here on.
	var cfg childConfig
	if err := json.NewDecoder(config).Decode(&cfg); err != nil {
		return fmt.Errorf("read the engine's configuration: %w", err)
	}
	redirectLog(childLog(cfg), cfg.Debug)
	// Where mount helpers are; an ordinary user's PATH often lacks them.
	os.Setenv("PATH", widerPath(os.Getenv("PATH")))
	engine, answer, err := childStart(cfg)
	if err != nil {
		answer.Error = newChildFailure(err)
	}
	if err := json.NewEncoder(report).Encode(answer); err != nil {
		return err // the parent has gone
	}
	report.Close()
	if engine == nil {
		return nil
	}
	go reapDaemons()
	waitForEnd(config)
	err = engine.close()
	if !cfg.PIDNamespace {
		// Without a PID namespace, killing a step kills its first process only.
		killDescendants()
	}
	return err
}

func widerPath(path string) string {
	if path == "" {
		path = "/usr/local/bin:/usr/bin:/bin"
	}
	return path + ":" + strings.Join(sbinFolders(), ":")
}

func childLog(cfg childConfig) io.Writer {
	if cfg.Log {
		return os.Stderr
	}
	return nil
}

// childStart starts the engine, or answers a probe and returns no engine.
func childStart(cfg childConfig) (*inProcess, childReport, error) {
	if err := enterNamespaces(cfg); err != nil {
		return nil, childReport{}, err
	}
	choice, kind, err := chooseHere(cfg.Root, cfg.Snapshotter)
	if err != nil || cfg.Probe {
		return nil, childReport{Choice: &choice}, err
	}
	if err := prepareFolders(cfg.Root); err != nil {
		return nil, childReport{}, err
	}
	l, err := net.FileListener(os.NewFile(fdListener, "listener"))
	if err != nil {
		return nil, childReport{}, err
	}
	p, err := startInProcess(settings{
		root:             cfg.Root,
		dir:              stateDir(cfg.Root, kind.name, true),
		choice:           choice,
		snapshotter:      kind,
		runtimePath:      cfg.RuntimePath,
		rootless:         true,
		processSandbox:   cfg.PIDNamespace,
		registries:       cfg.Registries,
		allowHostNetwork: cfg.AllowHostNetwork,
		maxParallelism:   cfg.MaxParallelism,
		maxSize:          cfg.MaxSize,
	})
	if err != nil {
		return nil, childReport{}, err
	}
	go func() { _ = p.serve(l) }() // ends when p is closed
	about := p.about()
	return p, childReport{About: &about}, nil
}

// enterNamespaces makes this process's new mount namespace its own.
func enterNamespaces(cfg childConfig) error {
	// Mounts of the host go on to show up here, and none of ours there.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, ""); err != nil {
		return usernsError(fmt.Errorf("make the mounts private: %w", err))
	}
	if !cfg.PIDNamespace {
		// Orphans become this process's children, as they do of process 1.
		return unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
	}
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("%w: %w", errNoProc, err)
	}
	return nil
}

// prepareFolders gives the runtime and BuildKit places for short-lived files
// that go away with this process, or at the latest with the next start.
func prepareFolders(root string) error {
	run, tmp := filepath.Join(root, "run"), filepath.Join(root, "tmp")
	if err := os.RemoveAll(tmp); err != nil {
		return fmt.Errorf("empty the folder for temporary files: %w", err)
	}
	for _, dir := range []string{run, tmp} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
	}
	// Visible in this mount namespace only, and gone with it.
	if err := unix.Mount("tmpfs", run, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0700"); err != nil {
		return fmt.Errorf("mount a folder for the runtime's state: %w", err)
	}
	// runc heeds XDG_RUNTIME_DIR as root in a user namespace unless USER says
	// that root is meant.
	if os.Getenv("USER") == "root" {
		os.Unsetenv("USER")
	}
	os.Setenv("XDG_RUNTIME_DIR", run)
	os.Setenv("TMPDIR", tmp)
	return nil
}

// waitForEnd returns when the parent closes its end of config, on purpose or by
// dying, or when this process is asked to terminate.
func waitForEnd(config io.Reader) {
	term := make(chan os.Signal, 1)
	signal.Notify(term, unix.SIGTERM, unix.SIGINT)
	eof := make(chan struct{})
	go func() {
		defer close(eof)
		_, _ = io.Copy(io.Discard, config)
	}()
	select {
	case <-eof:
	case <-term:
	}
}
