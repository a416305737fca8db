package contract

import (
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Where things are in the image and in the pod.
const (
	Bootstrap      = "/ibuild/bootstrap"    // the program; mode 0755
	OutputVariable = "IBUILD_OUTPUT_DIR"    // names the folder of --output to the program
	SliceVariable  = "MEGASCALE_SLICE_ID"   // the number of the slice, set for jobs of several
	IndexVariable  = "JOB_COMPLETION_INDEX" // the number of the host in its slice; Kubernetes sets it in indexed jobs
)

// Ways to log in at the registry of the results.
const (
	AuthConfig   = "config"   // with the credential, or anonymous without one
	AuthWorkload = "workload" // with a token of the pod's service account, from Google's metadata server
)

// DefaultGrace is what Kubernetes leaves a pod between SIGTERM and SIGKILL when nothing else is said.
const DefaultGrace = 30 * time.Second

// maxSeconds bounds durations, so that no sum of them overflows: a hundred years.
const maxSeconds = 100 * 365 * 24 * 3600

// Request is what the bootstrap of one container is asked to do.
type Request struct {
	Install    string        // requirements file to install from; empty is nothing to install
	Output     string        // folder of the results; absolute, empty is none
	Results    string        // REGISTRY/REPO:TAG-PREFIX; empty pushes nothing
	Credential string        // docker's config.json for Results
	Auth       string        // AuthConfig or AuthWorkload; empty is AuthConfig
	PlainHTTP  bool          // the registry of Results has no TLS
	Timeout    time.Duration // since the container began, in whole seconds; 0 is none
	Grace      time.Duration // between SIGTERM and SIGKILL, in whole seconds; 0 is DefaultGrace
	Program    []string      // with its arguments
}

// Command is the container's command line.
func (r Request) Command() []string {
	out := []string{Bootstrap, "run"}
	for _, f := range flags(&r) {
		if value := f.get(); value != "" {
			out = append(out, "--"+f.name+"="+value)
		}
	}
	if r.PlainHTTP {
		out = append(out, "--results-http")
	}
	return append(append(out, "--"), r.Program...)
}

// Parse reads a command line after its first word. All that is wrong with it is in the one error.
func Parse(args []string) (Request, error) {
	var r Request
	if len(args) == 0 || args[0] != "run" {
		return r, fmt.Errorf("the bootstrap has the one command run; ibuild writes its command line")
	}
	known := flags(&r)
	var seen, wrong []string
	args = args[1:]
	for len(args) > 0 && args[0] != "--" {
		arg := args[0]
		args = args[1:]
		name, value, _ := strings.Cut(strings.TrimPrefix(arg, "--"), "=")
		if slices.Contains(seen, name) {
			wrong = append(wrong, fmt.Sprintf("%.40q comes twice", "--"+name))
			continue
		}
		seen = append(seen, name)
		if err := r.set(known, arg, name, value); err != nil {
			wrong = append(wrong, err.Error())
		}
	}
	if len(args) < 2 {
		wrong = append(wrong, "there is no program after --")
	} else {
		r.Program = args[1:]
	}
	wrong = append(wrong, r.contradictions()...)
	if len(wrong) > 0 {
		return Request{}, fmt.Errorf("%s", strings.Join(wrong, "; "))
	}
	return r, nil
}

// set takes one argument over.
func (r *Request) set(known []flag, arg, name, value string) error {
	if arg == "--results-http" {
		r.PlainHTTP = true
		return nil
	}
	at := slices.IndexFunc(known, func(f flag) bool { return strings.HasPrefix(arg, "--"+f.name+"=") })
	switch {
	case at < 0:
		return fmt.Errorf("%.80q is not known: the image's bootstrap may be older than the ibuild that started this job", arg)
	case value == "":
		return fmt.Errorf("--%s is empty", name)
	case strings.ContainsRune(value, 0):
		return fmt.Errorf("--%s has a NUL byte", name)
	}
	if err := known[at].set(value); err != nil {
		return fmt.Errorf("--%s: %w", name, err)
	}
	return nil
}

// contradictions are flags that say nothing without others.
func (r *Request) contradictions() (wrong []string) {
	if r.Output != "" && !path.IsAbs(r.Output) {
		wrong = append(wrong, "--output is not absolute")
	}
	if r.Results == "" {
		if r.Credential != "" || r.Auth != "" || r.PlainHTTP {
			wrong = append(wrong, "--credential, --results-auth and --results-http are about --results, which is not there")
		}
		return wrong
	}
	if r.Output == "" {
		wrong = append(wrong, "--results needs --output")
	}
	if at := strings.LastIndexByte(r.Results, ':'); at < 0 || strings.Contains(r.Results[at:], "/") || strings.Contains(r.Results, "@") {
		wrong = append(wrong, "--results is not REPOSITORY:PREFIX")
	}
	return wrong
}

// flag is one that has a value.
type flag struct {
	name string
	get  func() string // empty when it is not set
	set  func(value string) error
}

// flags are those that have values, in the order of a command line.
func flags(r *Request) []flag {
	text := func(name string, to *string) flag {
		return flag{name, func() string { return *to }, func(value string) error { *to = value; return nil }}
	}
	seconds := func(name string, to *time.Duration) flag {
		return flag{name, func() string {
			if *to <= 0 {
				return ""
			}
			return strconv.FormatInt(int64((*to+time.Second-1)/time.Second), 10) // rounded up: 0 would be no limit
		}, func(value string) error {
			n, err := strconv.ParseInt(value, 10, 64)
			if err != nil || n < 1 || n > maxSeconds {
				return fmt.Errorf("%.40q is not a number of seconds from 1 on", value)
			}
			*to = time.Duration(n) * time.Second
			return nil
		}}
	}
	auth := flag{"results-auth", func() string { return r.Auth }, func(value string) error {
		if value != AuthConfig && value != AuthWorkload {
			return fmt.Errorf("%.40q is neither %s nor %s", value, AuthConfig, AuthWorkload)
		}
		r.Auth = value
		return nil
	}}
	return []flag{
		text("install", &r.Install), text("output", &r.Output), text("results", &r.Results), text("credential", &r.Credential),
		auth, seconds("timeout", &r.Timeout), seconds("grace", &r.Grace),
	}
}

// Tag is where the host of a slice pushes its results: Results is "REPOSITORY:PREFIX".
func Tag(results string, slice, index int) string {
	return fmt.Sprintf("%s-%d-%d", results, slice, index)
}
