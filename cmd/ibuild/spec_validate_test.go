package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSpecValidate(t *testing.T) {
	inFolder(t, map[string]string{
		"good/image.yaml": "packages: [numpy]\n",
		"bad.yaml":        "pakages: [x]\nenv: 3\ncopy: [nowhere]\n",
		"bad.py":          "# /// script\n# dependencies = ['a b']\n# ///\n",
		"secret.yaml":     "packages: [numpy]\nlayers:\n  - apt: {packages: [jq], secrets: [team/ibuild_none]}\n",
		"secrets.yaml":    "packages: [numpy]\nlayers:\n  - apt: {packages: [jq], secrets: [{id: ibuild_none, optional: true}]}\n",
		"Dockerfile":      "FROM scratch\nFRM x\n",
		"from/image.yaml": "dockerfile: Dockerfile.web\n", "from/Dockerfile.web": "FROM scratch\nMAINTAINER me\nCOPY a\n",
		"syntax/Dockerfile": "# syntax=docker/dockerfile:1\nFROM scratch AS Base\nCMD echo hi\n",
	})
	const bad = "bad.yaml:1:1: error: unknown key \"pakages\"\n   hint: did you mean \"packages\"?\nbad.yaml:2:6: error: env must be a mapping (key: value), not a number\n"
	const lost = "secret.yaml:3: %s: the secret \"team/ibuild_none\" is nowhere on this machine (looked at: $ibuild_none, /etc/secrets/team/ibuild_none)\n" +
		"   hint: give it to the build with --secret id=team/ibuild_none,src=FILE or ,env=NAME\n"
	for _, c := range []struct {
		stdin string
		args  []string
		code  int
		out   string
	}{
		{"", []string{"good", "secrets.yaml"}, 0, ""},
		{"", []string{"good", "bad.yaml", "nowhere"}, 2, bad + "bad.yaml:3:8: error: *nowhere*\nnowhere: error: there is no such file or folder\n*"},
		{"", []string{"bad.py"}, 2, "bad.py:2:*: error: *"},
		{"env: 3", []string{"-"}, 2, "<stdin>:1:6: error: env must be a mapping (key: value), not a number\n"},
		{"packages: [x]", []string{"-f", "-", "good"}, 0, ""},
		{"", []string{"secret.yaml"}, 0, strings.ReplaceAll(lost, "%s", "warning")},
		{"", []string{"--strict", "secret.yaml"}, 2, strings.ReplaceAll(lost, "%s", "error")},
		{"", []string{"Dockerfile"}, 2, "Dockerfile:2: error: *FRM*"},
		{"", []string{"from/image.yaml"}, 2, "from/Dockerfile.web:3: error: *COPY*from/Dockerfile.web:2: warning: *MaintainerDeprecated)\n   hint: see https://docs.docker.com/*\n"},
		{"", []string{"syntax"}, 0, "syntax/Dockerfile:2: warning: *StageNameCasing)\n   hint: see *"},
		{"", []string{"--format", "json", "good"}, 0, "[]\n"},
	} {
		code, out, errs := runSpec(t, c.stdin, append([]string{"validate"}, c.args...)...)
		if code != c.code || !matches(c.out, out) || errs != "" {
			t.Errorf("%v: exit code %d\n%s%s\nwant %d\n%s", c.args, code, out, errs, c.code, c.out)
		}
	}
	for _, c := range []struct{ args, want string }{
		{"validate", "ERROR: the source is missing\nhint:  write ibuild spec validate [flags] SOURCE...\n"},
		{"validate - -", "ERROR: standard input can be read only once\nhint:  give - once\n"},
		{"validate -f x a b", "ERROR: -f goes with one folder\nhint:  name the files as sources\n"},
		{"validate --format xml x", "ERROR: --format cannot be \"xml\"\nhint:  write text, json or github\n"},
		{"validate good --strict", "ERROR: the flag --strict comes after good\nhint:  flags go first: ibuild spec validate [flags] SOURCE...\n"},
	} {
		if code, out, errs := runSpec(t, "", strings.Fields(c.args)...); code != 2 || out != "" || errs != c.want {
			t.Errorf("%s: %d %q %q", c.args, code, out, errs)
		}
	}
	t.Setenv("ibuild_none", "canary")
	if _, out, _ := runSpec(t, "", "validate", "secret.yaml"); out != "" {
		t.Errorf("the secret is there: %s", out)
	}
}

// matches compares a text with a pattern in which a star stands for anything.
func matches(pattern, text string) bool {
	parts := strings.Split(pattern, "*")
	if len(parts) == 1 {
		return pattern == text
	}
	if !strings.HasPrefix(text, parts[0]) {
		return false
	}
	text = text[len(parts[0]):]
	for _, p := range parts[1:] {
		i := strings.Index(text, p)
		if i < 0 {
			return false
		}
		text = text[i+len(p):]
	}
	return text == "" || strings.HasSuffix(pattern, "*")
}

func TestFindingsAsJSON(t *testing.T) {
	inFolder(t, map[string]string{"bad.yaml": "pakages: [x]\n", "secret.yaml": "packages: [x]\nlayers: [{run: {commands: [x], secrets: [ibuild_none]}}]\n"})
	code, out, _ := runSpec(t, "", "validate", "--format", "json", "bad.yaml", "secret.yaml")
	var got []map[string]any
	if err := json.Unmarshal([]byte(out), &got); err != nil || code != 2 {
		t.Fatal(code, err, out)
	}
	want := []map[string]any{
		{"file": "bad.yaml", "line": 1.0, "column": 1.0, "severity": "error", "message": `unknown key "pakages"`, "hint": `did you mean "packages"?`},
		{"file": "secret.yaml", "line": 2.0, "column": 0.0, "severity": "warning", "message": `the secret "ibuild_none" is nowhere on this machine (looked at: $ibuild_none, /etc/secrets/ibuild_none)`,
			"hint": "give it to the build with --secret id=ibuild_none,src=FILE or ,env=NAME"},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestFindingsForGitHub(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "sub"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Chdir(filepath.Join(dir, "sub"))
	var out bytes.Buffer
	err = printGitHub(&out, dir, []finding{
		{File: "a,b:c%.yaml", Line: 3, Column: 5, Severity: isError, Message: "50% of: a, b\r\n::error::c", Hint: "mend, it"},
		{File: "/elsewhere/x", Severity: isWarning, Message: "m"},
		{File: "<stdin>", Line: 2, Severity: isWarning, Message: "m"},
	})
	const want = "::error file=sub/a%2Cb%3Ac%25.yaml,line=3,col=5,title=ibuild spec validate::50%25 of: a, b%0D%0A::error::c%0Ahint: mend, it\n" +
		"::warning file=/elsewhere/x,title=ibuild spec validate::m\n::warning file=<stdin>,line=2,title=ibuild spec validate::m\n"
	if err != nil || out.String() != want {
		t.Errorf("%v\n%s\nwant\n%s", err, out.String(), want)
	}
	if err := os.WriteFile("image.yaml", []byte("env: 3\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Setenv("GITHUB_WORKSPACE", dir)
	t.Setenv("GITHUB_ACTIONS", "true")
	app := newApp()
	out.Reset()
	app.Writer = &out
	if err := app.RunContext(t.Context(), []string{"ibuild", "spec", "validate", "."}); report(&out, err) != exitUsage {
		t.Error(err)
	}
	if got := out.String(); got != "::error file=sub/image.yaml,line=1,col=6,title=ibuild spec validate::env must be a mapping (key: value), not a number\n" {
		t.Error(got)
	}
}

// FuzzGitHub looks for texts that end a workflow command early, or begin another one.
func FuzzGitHub(f *testing.F) {
	f.Add("a.yaml", "m", "h")
	f.Add("a,line=9", "x\n::add-mask::y", "\r::stop-commands::z%0A")
	f.Fuzz(func(t *testing.T, file, msg, hint string) {
		var out bytes.Buffer
		if err := printGitHub(&out, "", []finding{{File: file, Line: 1, Severity: isError, Message: msg, Hint: hint}}); err != nil {
			t.Fatal(err)
		}
		line, ok := strings.CutSuffix(out.String(), "\n")
		properties, _, _ := strings.Cut(strings.TrimPrefix(line, "::error "), "::")
		if !ok || strings.ContainsAny(line, "\r\n") || strings.Count(properties, ",") != 2 || strings.Contains(properties, ":") {
			t.Errorf("%q", out.String())
		}
	})
}
