package spec

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os/exec"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/ibuild/ibuild/frontends/spec/python"
)

// environmentStart starts from the Python environment of the caller: the Debian base with the same Python, and
// the named packages in the versions that are installed here.
type environmentStart struct {
	Interpreter string // "" is python3, or python, on PATH; never said by a file
	Pip         Pip    // the packages by name, with extras, and how they are installed
}

// FromEnvironment starts from the caller's Python environment: the Debian base with the interpreter's X.Y,
// and the packages in the versions that are installed for it, from the indexes that the options name. interpreter is
// a program on PATH or a path; "" is python3, or python, on PATH. It is run when the image is planned.
func FromEnvironment(interpreter string, o PipOptions, packages ...string) Image {
	return Image{start: environmentStart{Interpreter: interpreter, Pip: Pip{PipOptions: o.clone(), Packages: slices.Clone(packages)}}}
}

func (e environmentStart) kind() string     { return "from_env" }
func (e environmentStart) yaml() *yaml.Node { return encode(&e) }
func (e *environmentStart) place(m marks)   { e.Pip.place(m) }

func (e environmentStart) choosesPython() string {
	return "from_env takes the Python of the environment"
}

func (e *environmentStart) short(t table) field {
	return t.texts("packages", "packages that are installed in the version that the caller's Python has", &e.Pip.Packages)
}

func (e *environmentStart) fields(t table) []field {
	return append([]field{e.short(t)}, e.Pip.PipOptions.fields(t)...)
}

// listInstalled prints what is installed for an interpreter. It looks at metadata only and imports nothing.
const listInstalled = `import importlib.metadata, json, sys
found = {}
for d in importlib.metadata.distributions():
    name = d.metadata["Name"]
    if name and name not in found:
        found[name] = {"version": d.version, "url": d.read_text("direct_url.json") or ""}
print(json.dumps({"python": "%d.%d" % sys.version_info[:2], "packages": found}))`

// bounded keeps as much of what is written to it as an interpreter can have to say.
type bounded []byte

func (b *bounded) Write(p []byte) (int, error) {
	const most = 16 << 20
	if len(*b)+len(p) > most {
		return 0, fmt.Errorf("it prints more than %d MiB", most>>20)
	}
	*b = append(*b, p...)
	return len(p), nil
}

// environment is what an interpreter has installed.
type environment struct {
	Python   string `json:"python"`
	Packages map[string]struct {
		Version string `json:"version"`
		URL     string `json:"url"` // direct_url.json (PEP 610): not from an index
	} `json:"packages"`
}

// read asks the interpreter.
func (e environmentStart) read() (environment, error) {
	var out environment
	var program string
	err := exec.ErrNotFound
	for _, name := range []string{"python3", "python"} {
		if e.Interpreter != "" {
			name = e.Interpreter
		}
		if program, err = exec.LookPath(name); err == nil {
			break
		}
	}
	if err != nil {
		return out, errors.New("there is no Python on PATH")
	}
	ctx, stop := context.WithTimeout(context.Background(), time.Minute)
	defer stop()
	cmd := exec.CommandContext(ctx, program, "-I", "-c", listInstalled)
	cmd.WaitDelay = time.Second // for what it may have started
	var answer, complaint bounded
	cmd.Stdout, cmd.Stderr = &answer, &complaint
	if err := cmd.Run(); err != nil {
		return out, fmt.Errorf("%s: %w: %s", program, err, strings.TrimSpace(string(complaint)))
	}
	return out, json.Unmarshal(answer, &out)
}

func (e environmentStart) lower(l *lowering) {
	at := e.Pip.mark()
	if len(e.Pip.Packages) == 0 {
		l.empty(at, "from_env names no packages")
	}
	if l.folder == nil {
		l.lowerDebian("", at) // nothing is run for a look at the text alone
		return
	}
	env, err := e.read()
	if err != nil {
		l.fail(at, "from_env: the Python environment cannot be read: "+err.Error(), "activate the environment, or list the packages with their versions in packages")
		return
	}
	l.lowerDebian(env.Python, at)
	l.pinned = e.pin(l, env)
}

// pin is the requirement of each package as it is installed.
func (e environmentStart) pin(l *lowering, env environment) []string {
	installed := map[string]string{}
	for name := range env.Packages {
		installed[python.NormalName(name)] = name
	}
	var out []string
	for i, text := range e.Pip.Packages {
		at := e.Pip.marks.at("packages", i)
		r, err := python.ParseRequirement(text)
		if err != nil || r.Specifier != "" || r.URL != "" {
			l.fail(at, fmt.Sprintf("from_env: %q is not the name of a package", text), "write the name, its version comes from the environment")
			continue
		}
		name, ok := installed[python.NormalName(r.Name)]
		if !ok {
			hint := "install it there, or put it into packages"
			if near, ok := nearest(r.Name, slices.Sorted(maps.Values(installed))); ok {
				hint = fmt.Sprintf("did you mean %q?", near)
			}
			l.fail(at, fmt.Sprintf("from_env: %q is not installed for this Python", r.Name), hint)
			continue
		}
		p := env.Packages[name]
		if p.Version == "" {
			l.fail(at, fmt.Sprintf("from_env: the version of %q cannot be read", r.Name), "install it again")
			continue
		}
		if p.URL != "" {
			l.fail(at, fmt.Sprintf("from_env: %q was not installed from an index", r.Name), "bring it as a requirement of its own (a local folder, a wheel, or a URL) in packages")
			continue
		}
		version, _, local := strings.Cut(p.Version, "+")
		if local {
			l.warn(at, fmt.Sprintf("from_env: %s %s is a local version, %s is installed", r.Name, p.Version, version), "name its index and version in packages if that matters")
		}
		extras := ""
		if len(r.Extras) > 0 {
			extras = "[" + strings.Join(r.Extras, ",") + "]"
		}
		out = append(out, r.Name+extras+"=="+version)
	}
	return out
}

func (e environmentStart) lowerPackages(l *lowering) {
	p := e.Pip
	p.Packages = l.pinned
	if len(p.Packages) == 0 { // nobody has looked, or there is a finding
		p.checkOptions(l)
		return
	}
	p.lower(l)
}
