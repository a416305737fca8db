package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ibuild/ibuild/frontends"
	"github.com/ibuild/ibuild/imagelock"
	"github.com/ibuild/ibuild/llb"
)

// TestReviewNotebookFromStdin: the script's file in the image needs a name that a shell can write.
func TestReviewNotebookFromStdin(t *testing.T) {
	plan, err := frontends.Load(frontends.Options{Source: "-", Stdin: strings.NewReader(notebookText(t))})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range plan.Image.Steps {
		if e, ok := s.(llb.Entrypoint); ok && strings.Contains(strings.Join(e.Args, " "), "<") {
			t.Errorf("the entry point is %q", e.Args)
		}
	}
}

// TestReviewShownNotebookFromStdin: what is shown names the file that the image has.
func TestReviewShownNotebookFromStdin(t *testing.T) {
	inFolder(t, nil)
	code, out, errs := runSpec(t, notebookText(t), "show", "-")
	if code != 0 || !strings.Contains(out, "uv_script: script.py\n") {
		t.Fatal(code, out, errs)
	}
	plan, err := frontends.Load(frontends.Options{Source: "-", Stdin: strings.NewReader(notebookText(t))})
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for _, s := range plan.Image.Steps {
		if w, ok := s.(llb.WriteFile); ok {
			found = found || filepath.Base(w.Dst) == "script.py"
		}
	}
	if !found {
		t.Error("the image that is built has no script.py")
	}
}

// TestReviewRegistryConfigStaysInside: the comment of useRegistryConfig says that the file is one of the source's
// folder. It is read for whatever an untrusted spec names.
func TestReviewRegistryConfigStaysInside(t *testing.T) {
	top := t.TempDir()
	config := `{"auths": {"registry.example": {"auth": "dTpw"}}}`
	for _, dir := range []string{"project", "home"} {
		if err := os.Mkdir(filepath.Join(top, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(top, "home/config.json"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("../home/config.json", filepath.Join(top, "project/link.json")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"../home/config.json", "link.json"} {
		file := filepath.Join(top, "project/image.yaml")
		if err := os.WriteFile(file, []byte("base_image: scratch\nregistry_config: "+name+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		plan, err := frontends.Load(frontends.Options{Source: file})
		if err != nil {
			continue
		}
		if _, err := readRegistryConfig(plan.RegistryConfig); err == nil {
			t.Errorf("%s, outside of the spec's folder, gives the credentials", name)
		}
	}
}

// TestReviewRegistryConfigIsBounded: a file without an end, and one that nobody writes to.
func TestReviewRegistryConfigIsBounded(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mkfifo(filepath.Join(dir, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	large := filepath.Join(dir, "large")
	f, err := os.Create(large)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(f, `{"auths": {"h": {"auth": "dTpw", "email": "%s"}}}`, strings.Repeat("x", 64<<20))
	f.Close()
	for _, name := range []string{large, filepath.Join(dir, "pipe")} {
		done := make(chan error, 1)
		go func() {
			_, err := readRegistryConfig(name)
			done <- err
		}()
		select {
		case err := <-done:
			if err == nil {
				t.Errorf("%s is read without a limit", filepath.Base(name))
			}
		case <-time.After(5 * time.Second):
			t.Errorf("%s is waited for", filepath.Base(name))
		}
	}
}

// TestReviewFindingsHideWhatTheyShould: validate prints findings for people, machines and GitHub; none of them may show the
// password of a URL or what a terminal acts upon.
func TestReviewFindingsHideWhatTheyShould(t *testing.T) {
	inFolder(t, map[string]string{"image.yaml": "apt_packages: ['https://u:geheim@h']\n\"user\": \"\\e[2J\\u202e\"\nlabels: {\"\\e[31mred\": 'https://u:p@h'}\n"})
	for _, format := range []string{"text", "json", "github"} {
		_, out, _ := runSpec(t, "", "validate", "--format", format, "image.yaml")
		if strings.Contains(out, "geheim") {
			t.Errorf("%s shows the password: %s", format, out)
		}
		if strings.ContainsAny(out, "\x1b\u202e") && format != "json" {
			t.Errorf("%s has a terminal escape: %q", format, out)
		}
	}
}

// TestReviewShownJSONIsTheSameSpec: JSON and YAML of one spec say the same.
func TestReviewShownJSONIsTheSameSpec(t *testing.T) {
	inFolder(t, map[string]string{"image.yaml": "python_version: '3.12'\nenv: {A: '1e3', B: 'yes', C: '2001-01-01', D: '~', E: \"a\\nb\", F: '0x1F'}\ntag: '1.10'\nname: x\n"})
	code, out, errs := runSpec(t, "", "show", "--format", "json", "image.yaml")
	if code != 0 {
		t.Fatal(errs)
	}
	var shown any
	if err := json.Unmarshal([]byte(out), &shown); err != nil {
		t.Fatal(err)
	}
	want, err := frontends.Load(frontends.Options{Source: "image.yaml"})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile("again.yaml", []byte(out), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := frontends.Load(frontends.Options{Source: "again.yaml"})
	if err != nil {
		t.Fatal(err)
	}
	if want.Tag != got.Tag || fmt.Sprint(envOf(want)) != fmt.Sprint(envOf(got)) {
		t.Errorf("%v, not %v", envOf(got), envOf(want))
	}
}

func envOf(p *llb.Plan) map[string]string {
	out := map[string]string{}
	for _, s := range p.Image.Steps {
		if e, ok := s.(llb.Env); ok {
			out[e.Key] = e.Value
		}
	}
	return out
}

// TestReviewLockBombs: a lock is at most a megabyte, and read in seconds.
func TestReviewLockBombs(t *testing.T) {
	names := strings.Builder{}
	for i := range 20_000 {
		fmt.Fprintf(&names, "[images.\"BAD%d\"]\n", i)
	}
	keys := strings.Builder{}
	for i := range 30_000 {
		fmt.Fprintf(&keys, "k%d = 1\n", i)
	}
	for name, text := range map[string]string{
		"brackets": "version = 1\na = " + strings.Repeat("[", 1<<19), "closed": "version = 1\na = " + strings.Repeat("[", 1<<18) + strings.Repeat("]", 1<<18),
		"dots": "version = 1\n" + strings.Repeat("a.", 1<<18) + "a = 1", "tables": "version = 1\n[" + strings.Repeat("a.", 1<<18) + "a]\n",
		"names": "version = 1\n" + names.String(), "keys": "version = 1\n" + keys.String(), "braces": "version = 1\na = " + strings.Repeat("{a=", 1<<17),
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, imagelock.FileName), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			begin := time.Now()
			_, err := imagelock.Read(dir)
			if err == nil {
				t.Error("no error")
			}
			if took := time.Since(begin); took > 2*time.Second {
				t.Errorf("it took %v", took)
			}
		})
	}
}

// TestReviewLockLines: a finding about one image must not point at another whose name begins the same way.
func TestReviewLockLines(t *testing.T) {
	dir := t.TempDir()
	text := "version = 1\n[images.\"docker.io/library/a:10\"]\ndigest = \"sha256:" + strings.Repeat("0", 64) + "\"\nsources = [\"x\"]\n" +
		"[images.\"docker.io/library/a:1\"]\ndigest = \"bad\"\nsources = [\"x\"]\n"
	if err := os.WriteFile(filepath.Join(dir, imagelock.FileName), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := imagelock.Read(dir)
	if err == nil || !strings.Contains(err.Error(), ":5:") {
		t.Error(err)
	}
}
