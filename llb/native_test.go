package llb

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/containerd/platforms"
	"github.com/google/go-cmp/cmp"
	"github.com/moby/buildkit/solver/pb"
)

func TestNativeCommand(t *testing.T) {
	for what, c := range map[string]struct {
		step Exec
		want string
	}{
		"pip":         {Pip{Packages: []string{"numpy>=2", "-x"}, Index: "https://i"}.Step(), "pip install|aarch64-manylinux_2_36|--no-build|--default-index|https://i|--|numpy>=2|-x"},
		"wheels only": {Pip{Packages: []string{"a"}, WheelsOnly: true}.Step(), "pip install|aarch64-manylinux_2_36||--only-binary|:all:|--|a"},
		"a script":    {UVScript([]byte("#"), nil, Lines{}), "sync|aarch64-manylinux_2_36|--no-build|--script|" + ScriptDir + "/script.py|--active|--inexact|--no-progress|--no-editable"},
		"a lock":      {UVScript([]byte("#"), []byte("#"), Lines{}), "sync|aarch64-manylinux_2_36|--no-build|--script|" + ScriptDir + "/script.py|--active|--inexact|--no-progress|--no-editable|--locked"},
	} {
		args := c.step.native(arm64)
		if args[2] != nativeUV || args[4] != uvPath {
			t.Errorf("%s: the command is %q", what, args[:5])
		}
		if got := strings.Join(args[5:], "|"); got != c.want {
			t.Errorf("%s:\n%s, want\n%s", what, got, c.want)
		}
		op := &pb.Op{Op: &pb.Op_Exec{Exec: &pb.ExecOp{Meta: &pb.Meta{Args: args}}}}
		if p, native := NativeFor(op); p != "linux/arm64" || !native {
			t.Errorf("%s: the operation is for %q, %v", what, p, native)
		}
		op.GetExec().Meta.Args = c.step.Args
		if p, native := NativeFor(op); p != "" || native {
			t.Errorf("%s, emulated: the operation is for %q, %v", what, p, native)
		}
	}
	if p, native := NativeFor(&pb.Op{}); p != "" || native {
		t.Errorf("no step: for %q, %v", p, native)
	}
}

func TestFlagsThatKeepAStepEmulated(t *testing.T) {
	for flag, native := range map[string]bool{
		"--pre": true, "--only-binary=x": true, "--prefix=/x": true, "--pythonic": true,
		"--python": false, "--python=3.12": false, "-p3.12": false, "-p": false, "--python-platform=linux": false,
		"--python-version=3.12": false, "--no-binary": false, "--no-build-package": false, "--no-build": false, "--system": false, "--dry-run": false,
	} {
		if got := (Pip{Packages: []string{"a"}, Args: []string{flag}}).Step().isNative(); got != native {
			t.Errorf("%s: native %v, want %v", flag, got, native)
		}
	}
	if Command("uv pip install -- a", Lines{}).isNative() || Apt([]string{"a"}, Lines{}).isNative() {
		t.Error("a step of the user's or of apt is native")
	}
	if !DebianSetup("3.12", Lines{})[0].(Exec).isNative() {
		t.Error("the virtual environment is not made natively")
	}
}

// plans are what a uv prints and how it ends: planning freely, and installing wheels only.
type plans struct {
	free, bound        string
	freeCode, boundEnd string
}

// uvStub is a uv that prints its plans and writes down how it is called. The end-to-end tests run the real one.
func uvStub(t *testing.T, p plans) (program, calls string) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"free": p.free, "bound": p.bound,
		"uv": `#!/bin/sh
cd "${0%/*}"
echo "$*" >>calls
case "$*" in
*--dry-run*) cat free >&2; exit ` + p.freeCode + `;;
*--no-build*) cat bound >&2; exit ` + p.boundEnd + `;;
esac
`} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "uv"), filepath.Join(dir, "calls")
}

func TestNativeInstallsWhatTheImageWould(t *testing.T) {
	const plan = "Resolved 2 packages in 1ms\n + a==1\n + b==2\n"
	for what, c := range map[string]struct {
		plans
		kind  ExecKind
		code  int
		calls int
		says  string // why it has to be emulated
	}{
		"wheels for all":          {plans{plan, "Resolved 2 packages in 9ms\n + a==1\n + b==2\n", "0", "0"}, Ordered, 0, 2, ""},
		"nothing to do":           {plans{"Audited\n", "Audited\n", "0", "0"}, Ordered, 0, 2, ""},
		"an older one":            {plans{plan, " + a==1\n + b==1\n", "0", "0"}, Ordered, 1, 2, "b 2 has no wheel"},
		"a downgrade":             {plans{" - a==2\n + a==3\n", "Audited\n", "0", "0"}, Ordered, 1, 2, "a 3 has no wheel"},
		"more with wheels only":   {plans{" + a==1\n", plan, "0", "0"}, Ordered, 1, 2, "a package has no wheel"},
		"no wheel":                {plans{plan, "error: No solution found\n  cause: Because b==2 has no usable wheels and you\n", "0", "1"}, Ordered, 1, 2, "b 2 has no wheel"},
		"wheels were asked for":   {plans{plan, "", "0", "9"}, WheelsOnly, 0, 2, ""},
		"a network that ends":     {plans{plan, "error: Request failed\n", "0", "3"}, Ordered, 3, 2, ""},
		"no network":              {plans{"error: Request failed\n", "", "2", "0"}, Ordered, 2, 1, ""},
		"a folder":                {plans{" + a==1\n + p==1 (from file:///src/p)\n", "", "0", "9"}, Ordered, 1, 1, "p 1 has no wheel"},
		"a folder no more":        {plans{" - p==1 (from file:///src/p)\n", " - p==1 (from file:///src/p)\n", "0", "0"}, Ordered, 0, 2, ""},
		"another form":            {plans{" + p @ file:///src/p\n", "", "0", "9"}, Ordered, 1, 1, "p has no wheel"},
		"a repository":            {plans{" + p==1 (from git+https://x/p@abc)\n", "", "0", "9"}, Ordered, 1, 1, "p 1 has no wheel"},
		"an archive":              {plans{" + p==1 (from https://x/p-1.tar.gz#sha256=1)\n", "", "0", "9"}, WheelsOnly, 1, 1, "p 1 has no wheel"},
		"a wheel by its address":  {plans{" + p==1 (from https://x/p-1-py3-none-any.whl)\n", " + p==1 (from https://x/p-1-py3-none-any.whl)\n", "0", "0"}, Ordered, 0, 2, ""},
		"a wheel with its digest": {plans{" + p @ https://x/p.whl#sha256=1\n", " + p @ https://x/p.whl#sha256=1\n", "0", "0"}, Ordered, 0, 2, ""},
	} {
		t.Run(what, func(t *testing.T) {
			uv, log := uvStub(t, c.plans)
			step := Pip{Packages: []string{"a b", "c"}, WheelsOnly: c.kind == WheelsOnly}.Step()
			step.Args[0] = uv
			args := step.native(arm64)
			out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
			code := 0
			if ended := (*exec.ExitError)(nil); errors.As(err, &ended) {
				code = ended.ExitCode()
			} else if err != nil {
				t.Fatal(err)
			}
			calls, err := os.ReadFile(log)
			if err != nil {
				t.Fatal(err)
			}
			if n := bytes.Count(calls, []byte("\n")); code != c.code || n != c.calls {
				t.Errorf("exit code %d after %d calls, want %d after %d\n%s%s", code, n, c.code, c.calls, calls, out)
			}
			if c.code != 1 && !bytes.Contains(out, []byte(strings.TrimSpace(c.bound))) {
				t.Errorf("what the installer says is lost:\n%s", out)
			}
			if says := WhyEmulate(out); says != c.says {
				t.Errorf("it says %q, want %q\n%s", says, c.says, out)
			}
		})
	}
}

// The texts are what uv 0.13.9 prints.
func TestWhyEmulate(t *testing.T) {
	const noSolution = "Using Python 3.11.2 environment at: /opt/venv\nerror: No solution found when resolving dependencies\n  cause: "
	const hint = "\n\nhint: Wheels are required for `docopt` because building from source is disabled for all packages (i.e., with `--no-build`)\n"
	const changed = "a step before it has changed the base's own programs"
	for _, c := range []struct{ output, why string }{
		{"ibuild: no wheel: mixed==2.0\nibuild: no wheel: other==1\n", "mixed 2.0 has no wheel"},
		{"ibuild: no wheel: \n", "a package has no wheel"},
		{noSolution + "Because docopt==0.6.2 has no usable wheels and you require docopt==0.6.2, we can conclude that your requirements are unsatisfiable." + hint, "docopt 0.6.2 has no wheel"},
		{noSolution + "Because all versions of docopt have no usable wheels and you require docopt, we can conclude that your requirements are unsatisfiable." + hint, "docopt has no wheel"},
		{"error: Distribution `docopt==0.6.2 @ registry+https://pypi.org/simple` can't be installed because it is marked as `--no-build` but has no binary distribution\n", "docopt 0.6.2 has no wheel"},
		{"error: Failed to build `broken @ file:///x/broken-1.0.tar.gz`\n  cause: Building source distributions for `broken` is disabled\n", "broken has no wheel"},
		{"error: Building source distributions is disabled, but attempted to build `proj`\n", "proj has no wheel"},
		{"error: Failed to build `broken==1.0`\n  cause: The build backend returned an error\n", "broken 1.0 has no wheel"},
		{"error: Failed to download and build `a==1`\n", "a 1 has no wheel"},
		{"error: Git operation failed\n  cause: Git executable not found. Ensure that Git is installed and available.\n", "a package comes from a git repository and has no wheel"},
		{"exec /bin/sh: exec format error\n", changed},
		{"sh: 5: sed: Exec format error\n", changed},
		{"aarch64-binfmt-P: Could not open '/lib/ld-linux-aarch64.so.1': No such file or directory\n", changed},
		{noSolution + "Because nosuchpackage-xyz-123 was not found in the package registry and you require nosuchpackage-xyz-123, we can conclude that your requirements are unsatisfiable.\n", ""},
		{noSolution + "Because there is no version of numpy==99 and you require numpy==99, we can conclude that your requirements are unsatisfiable.\n", ""},
		{"error: Request failed after 3 retries in 12.9s\n  cause: Failed to fetch: http://127.0.0.1:1/simple/six/\n", ""},
		{"error: The lockfile at `script.py.lock` needs to be updated, but `--locked` was provided.\n", ""},
		{"", ""},
	} {
		if why := WhyEmulate([]byte(c.output)); why != c.why {
			t.Errorf("%q, want %q, of\n%s", why, c.why, c.output)
		}
	}
}

func FuzzWhyEmulate(f *testing.F) {
	f.Add([]byte("ibuild: no wheel: mixed==2.0\n"))
	f.Add([]byte("error: Failed to build `broken @ file:///x`\n"))
	f.Fuzz(func(t *testing.T, output []byte) {
		if why := WhyEmulate(output); strings.Contains(why, "\n") || len(why) > len(output)+100 {
			t.Errorf("%q", why)
		}
	})
}

func TestForeign(t *testing.T) {
	for _, c := range []struct {
		own, p string
		want   bool
	}{
		{"linux/amd64", "linux/arm64", true}, {"linux/arm64", "linux/amd64", true}, {"linux/amd64", "linux/arm64/v8", true},
		{"linux/amd64", "linux/amd64", false}, {"linux/amd64", "linux/amd64/v3", false}, {"linux/amd64", "linux/arm/v7", false},
		{"linux/riscv64", "linux/arm64", false}, {"linux/amd64", "windows/arm64", false},
	} {
		if got := Foreign(platforms.MustParse(c.own), platforms.MustParse(c.p)); got != c.want {
			t.Errorf("a builder for %s and %s: %v", c.own, c.p, got)
		}
	}
}

// The plan and the installation see the same arguments: nothing but the restriction differs.
func TestPlanDiffersByTheRestriction(t *testing.T) {
	uv, log := uvStub(t, plans{" + a==1\n", " + a==1\n", "0", "0"})
	step := Pip{Packages: []string{"a"}, Pre: true}.Step()
	step.Args[0] = uv
	args := step.native(amd64)
	if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	calls, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"pip install --dry-run --python-platform x86_64-manylinux_2_36 --prerelease allow -- a",
		"pip install --python-platform x86_64-manylinux_2_36 --no-build --prerelease allow -- a", "",
	}
	if got := strings.Split(string(calls), "\n"); !slices.Equal(got, want) {
		t.Error(cmp.Diff(want, got))
	}
}
