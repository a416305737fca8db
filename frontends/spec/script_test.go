package spec

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ibuild/ibuild/frontends/source"
	"github.com/ibuild/ibuild/frontends/spec/plantest"
	"github.com/ibuild/ibuild/llb"
)

func loadScript(t *testing.T, path string) *llb.Plan {
	t.Helper()
	src, err := source.Read(path, source.ScriptLimit)
	if err != nil {
		t.Fatal(err)
	}
	plan, err := LoadScript(src)
	if err != nil {
		t.Fatal(err)
	}
	return plan
}

func golden(t *testing.T, name string, plan *llb.Plan) {
	t.Helper()
	if err := plantest.Compare(filepath.Join("testdata/scripts", name+".golden.json"), plan, *update); err != nil {
		t.Error(err)
	}
}

func TestScripts(t *testing.T) {
	scripts, err := filepath.Glob("testdata/scripts/*.py")
	if err != nil || len(scripts) < 5 {
		t.Fatalf("%d scripts, %v", len(scripts), err)
	}
	for _, path := range scripts {
		name := strings.TrimSuffix(filepath.Base(path), ".py")
		t.Run(name, func(t *testing.T) { golden(t, name, loadScript(t, path)) })
	}
}

func TestScriptFromStdin(t *testing.T) {
	f, err := os.Open("testdata/scripts/simple.py")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	src, err := source.ReadStdin(f, ".", source.ScriptLimit)
	if err != nil {
		t.Fatal(err)
	}
	plan, err := LoadScript(src)
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "stdin", plan)
	if len(plan.Locals) > 0 {
		t.Errorf("a script from stdin reads %v", plan.Locals)
	}
}

// environmentOf is what must not change with the script's body: all but the code.
func environmentOf(t *testing.T, path string) []byte {
	plan := loadScript(t, path)
	img, _ := plan.Image.Split()
	copied := *plan
	copied.Image = img
	shown, err := plantest.JSON(&copied)
	if err != nil {
		t.Fatal(err)
	}
	return append(shown, plan.Image.Sources[0].Data...)
}

func TestBodyIsNoneOfTheEnvironmentsBusiness(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s.py")
	header := "# /// script\n# dependencies = [\"numpy\"]\n# ///\n"
	write := func(text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(header + "print(1)\n")
	before := environmentOf(t, path)
	for _, text := range []string{
		header + "print(2)\n", strings.ReplaceAll(header, "\n", "\r\n") + "print(1)", "\ufeff" + header, strings.TrimSuffix(header, "\n"),
	} {
		write(text)
		after := environmentOf(t, path)
		// The shown header has the file's own line ends; the steps have not.
		if !bytes.Equal(bytes.ReplaceAll(bytes.TrimSpace(before), []byte("\r"), nil), bytes.ReplaceAll(bytes.TrimSpace(after), []byte("\r"), nil)) {
			t.Errorf("%q:\n%s", text, cmp.Diff(string(before), string(after)))
		}
	}
	write("# /// script\n# dependencies = [\"scipy\"]\n# ///\n")
	if bytes.Equal(before, environmentOf(t, path)) {
		t.Error("another header makes the same environment")
	}
}

func TestLinkedScript(t *testing.T) {
	dir, real := t.TempDir(), t.TempDir()
	text := "# /// script\n# dependencies = []\n# ///\n"
	if err := os.WriteFile(filepath.Join(real, "v2.py"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(real, "v2.py"), filepath.Join(dir, "app.py")); err != nil {
		t.Fatal(err)
	}
	plan := loadScript(t, filepath.Join(dir, "app.py"))
	_, code := plan.Image.Split()
	want := llb.Copy{Title: "script: app.py", Local: ContextName, Src: "v2.py", Dst: "/home/app/app.py"}
	var got llb.Copy
	for _, s := range code {
		if c, ok := s.(llb.Copy); ok {
			got = c
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if resolved, _ := filepath.EvalSymlinks(real); plan.Locals[ContextName].Dir != resolved {
		t.Errorf("folder %s", plan.Locals[ContextName].Dir)
	}
}

func TestScriptLockProblems(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "s.py")
	if err := os.WriteFile(path, []byte("# /// script\n# ///\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	src, err := source.Read(path, source.ScriptLimit)
	if err != nil {
		t.Fatal(err)
	}
	src.Name = "s.py"
	check := func(want string) {
		t.Helper()
		if _, err := LoadScript(src); err == nil || err.Error() != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	}
	lock := path + ".lock"
	if err := os.Mkdir(lock, 0o700); err != nil {
		t.Fatal(err)
	}
	check("s.py.lock: the lock is not a file; write it with: uv lock --script s.py")
	if err := os.Remove(lock); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(lock, []byte(`source = { registry = "https://u:geheim@h/simple" }`), 0o600); err != nil {
		t.Fatal(err)
	}
	check("s.py.lock: the lock has a URL with a password in it, which would end up in the image's cache and history; give the index a name and its password as a secret, and lock again")
	if err := os.Truncate(lock, source.LockLimit+1); err != nil {
		t.Fatal(err)
	}
	check("s.py.lock: larger than the limit of 32 MiB")
}

// TestToolIbuildErrors has the exact text of complaints about [tool.ibuild], with places in the script.
func TestToolIbuildErrors(t *testing.T) {
	for text, want := range map[string]string{
		"[tool.ibuild]\napt_package = ['git']":                   `s.py:4:3: unknown key "apt_package" in [tool.ibuild]; did you mean "apt_packages"?`,
		"[tool.ibuild]\napt-packages = 'git'":                    "s.py:4:18: apt_packages must be a list, not a text; write [git]",
		"[tool.ibuild]\napt-packages = ['Git']":                  `s.py:4:19: "Git" is not a Debian package; did you mean "git"?`,
		"[tool.ibuild]\npython-version = '3.12'":                 `s.py:4:3: unknown key "python_version" in [tool.ibuild]; see docs/spec.md for the keys`,
		"[tool.ibuild.env]\nPASSWORD = 'correcthorsebattery'":    "s.py:4:3: the value of PASSWORD looks like a credential, going by its name, and everybody who has the image could read it; mount a secret instead, or say allow_plain_credentials: true",
		"[[tool.ibuild.layers]]\npip = ['a=>1']":                 `s.py:4:10: "a=>1" is not a requirement: "=>1" does not begin with one of === ~= == != <= >= < >; write e.g. numpy>=2 (PEP 508)`,
		"[tool.ibuild]\nplatforms = ['linux/arm46']":             `s.py:4:16: "linux/arm46" is not a platform that images can be made for; did you mean "linux/arm64"?`,
		"[tool.ibuild]\nlayers = [{ source_file = 'none.txt' }]": `s.py:4:29: there is no "none.txt"`,
	} {
		script := "# /// script\n# dependencies = []\n# " + strings.ReplaceAll(text, "\n", "\n# ") + "\n# ///\n"
		src, err := source.New("s.py", t.TempDir(), []byte(script))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := LoadScript(src); err == nil || err.Error() != want {
			t.Errorf("%s\ngot  %v\nwant %s", text, err, want)
		}
	}
}
