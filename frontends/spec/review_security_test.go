package spec

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ibuild/ibuild/frontends/source"
)

// ends fails a test whose work does not end: it hangs, or it reads a megabyte in quadratic time. What a machine
// under load needs for honest work is far below.
func ends(t *testing.T, do func()) {
	t.Helper()
	done := make(chan struct{})
	go func() { defer close(done); do() }()
	select {
	case <-done:
	case <-time.After(2 * time.Minute):
		t.Fatal("it does not end")
	}
}

// TestReviewBaseSpecDoesNotShowFiles: base_image may lead out of the folder, so what it leads to must not be
// printed: an untrusted spec would make a CI job show any text file of the machine.
func TestReviewBaseSpecDoesNotShowFiles(t *testing.T) {
	top := t.TempDir()
	writeTo(t, filepath.Join(top, "home/.pgpass"), "db:5432:geheim:geheim\n")
	writeTo(t, filepath.Join(top, "home/shadow"), "root: geheim\ngeheim2: {x\n")
	writeTo(t, filepath.Join(top, "home/credentials"), "[default]\naws_secret_access_key = geheim\n")
	writeTo(t, filepath.Join(top, "home/id.yaml"), "geheim-host: {user: a}\n")
	for _, name := range []string{".pgpass", "shadow", "credentials", "id.yaml"} {
		src, _ := source.New("image.yaml", filepath.Join(top, "project"), []byte("base_image: ../home/"+name+"\n"))
		if err := os.MkdirAll(src.Dir, 0o755); err != nil {
			t.Fatal(err)
		}
		_, err := Load(src)
		var all source.Errors
		all.Collect(err)
		for _, e := range all {
			if strings.Contains(e.Error()+string(e.Data), "geheim") {
				t.Errorf("%s is shown: %v", name, e)
				break
			}
		}
	}
}

// TestReviewPipesAreNotWaitedFor: nobody writes to these pipes.
func TestReviewPipesAreNotWaitedFor(t *testing.T) {
	script := strings.Replace(scriptText, "%s", "", 1)
	for name, text := range map[string]string{
		"base.yaml": "base_image: ./base.yaml", ".dockerignore": "copy: [.]", "run.py.lock": "uv_script: run.py",
		"requirements.txt": "requirements: requirements.txt", "Dockerfile": "dockerfile: Dockerfile", "pyproject.toml": "layers: [{uv_project: .}]",
		"environment.yml": "layers: [{conda: {file: environment.yml}}]", "uv.lock": "requirements: uv.lock",
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			writeTo(t, filepath.Join(dir, "run.py"), script)
			if err := unix.Mkfifo(filepath.Join(dir, name), 0o600); err != nil {
				t.Fatal(err)
			}
			src, _ := source.New("image.yaml", dir, []byte(text+"\n"))
			ends(t, func() {
				if _, err := Load(src); err == nil {
					t.Error("no error")
				}
			})
		})
	}
}

// TestReviewLocksDoNotLeaveTheFolder: the lock of a pixi script is shipped to the builder, so it must not be
// a link to any file of the machine.
func TestReviewLocksDoNotLeaveTheFolder(t *testing.T) {
	top := t.TempDir()
	writeTo(t, filepath.Join(top, "outside.txt"), "version: 6\ngeheim: 1\n")
	for field, ending := range map[string]string{"pixi_script": ".pixi.lock", "uv_script": ".lock"} {
		dir := filepath.Join(top, field)
		more := ""
		if field == "pixi_script" {
			more = "# [tool.pixi.workspace]\n# channels = [\"conda-forge\"]\n"
		}
		writeTo(t, filepath.Join(dir, "run.py"), strings.Replace(scriptText, "%s", more, 1))
		if err := os.Symlink("../outside.txt", filepath.Join(dir, "run.py"+ending)); err != nil {
			t.Fatal(err)
		}
		src, _ := source.New("image.yaml", dir, []byte(field+": run.py\n"))
		plan, err := Load(src)
		if err == nil && strings.Contains(fmt.Sprint(plan.Image.Steps), fmt.Sprint([]byte("geheim"))[1:18]) {
			t.Errorf("%s: a file outside of the folder is given to the builder", field)
		}
		if err == nil {
			t.Errorf("%s: no error", field)
		}
		var all source.Errors
		all.Collect(err)
		for _, e := range all {
			if strings.Contains(e.Error()+string(e.Data), "geheim") {
				t.Errorf("%s: the file is shown: %v", field, e)
			}
		}
	}
}

// TestReviewLargeInputs: a megabyte of each is read to its end.
func TestReviewLargeInputs(t *testing.T) {
	script := func(more string) map[string]string {
		return map[string]string{"run.py": strings.Replace(scriptText, "%s", more, 1)}
	}
	many := func(n int, format string) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, format, i)
		}
		return b.String()
	}
	for name, c := range map[string]struct {
		text  string
		files map[string]string
	}{
		"a long key":               {text: strings.Repeat("k", 1<<19) + ": 1"},
		"many long keys":           {text: many(1000, strings.Repeat("k", 400)+"%d: 1\n")},
		"a long name":              {text: "name: " + strings.Repeat("k", 1<<19)},
		"a long platform":          {text: "platforms: [" + strings.Repeat("k", 1<<19) + "]"},
		"a long secret":            {text: "secrets: [a, b]\nlayers: [{apt: {packages: [x], secrets: [" + strings.Repeat("k", 1<<19) + "]}}]"},
		"unknown secrets":          {text: "secrets: [" + many(1500, "declared-secret-number-%d, ") + "]\nlayers: [{apt: {packages: [x], secrets: [" + many(1500, "mounted-secret-with-number-%d, ") + "]}}]"},
		"bad packages":             {text: "packages: [" + many(15_000, "'-bad%d', ") + "]\n#" + strings.Repeat(" https://a:b@c", 50_000)},
		"a list of bad layers":     {text: "layers:\n" + many(4000, "- {unknown%d: 1}\n")},
		"nested bases":             {text: strings.Repeat("base_image: {", 1) + strings.Repeat("base_image: {", 3000) + strings.Repeat("}", 3001)},
		"a base that holds itself": {text: "base_image: &a {base_image: *a}"},
		"settings of a script":     {text: "uv_script: run.py", files: script("# [tool.ibuild.env]\n" + many(1900, "# K%d = \"v\"\n") + "# X = \"" + strings.Repeat("x", 900_000) + "\"\n")},
		"tables of a script":       {text: "uv_script: run.py", files: script(many(1900, "# [tool.ibuild.a%d]\n"))},
		"a list in a script":       {text: "uv_script: run.py", files: script("# [tool.ibuild]\n# apt-packages = [" + strings.Repeat("\"curl\",", 40_000) + "]\n")},
		"requirements of a script": {text: "uv_script: run.py", files: script("# [tool.x]\n# d = [" + strings.Repeat("\"bad bad\",", 100_000) + "]\n")},
		"brackets in a script":     {text: "uv_script: run.py", files: script("# a = " + strings.Repeat("[", 1<<19) + "\n")},
		"ignore patterns":          {text: "copy: [a/b]", files: map[string]string{"a/b/c": "", ".dockerignore": strings.Repeat("**/x\n", 200_000)}},
		"twisted ignore patterns":  {text: "copy: [a/b]", files: map[string]string{"a/b/c": "", ".dockerignore": strings.Repeat("**/", 300_000) + "x\n"}},
		"arguments":                {text: "packages: [x]\npip_extra_args: '--a " + strings.Repeat("b ", 400_000) + "'"},
		"a deep marker":            {text: "packages: ['a ; " + strings.Repeat("(", 900_000) + "']"},
		"a deep closed marker":     {text: "packages: [\"a ; " + strings.Repeat("(", 300_000) + "os_name == 'x'" + strings.Repeat(")", 300_000) + "\"]"},
		"many specifiers":          {text: "packages: ['a" + strings.Repeat(">=1,", 200_000) + "<2']"},
		"many extras":              {text: "packages: ['a[" + strings.Repeat("x,", 400_000) + "x]']"},
		"a wide python":            {text: "uv_script: run.py", files: map[string]string{"run.py": "# /// script\n# requires-python = \"" + strings.Repeat(">=3,", 200_000) + "<4\"\n# ///\n"}},
		"a deep path":              {text: "copy: ['" + strings.Repeat("a/", 400_000) + "']"},
		"dots in a path":           {text: "copy: ['" + strings.Repeat("./", 30_000) + "']"},
		"a long workdir":           {text: "workdir: '" + strings.Repeat("a/", 400_000) + "'"},
		"a requirements file":      {text: "requirements: r.txt", files: map[string]string{"r.txt": many(60_000, "-r x%d.txt\n")}},
		"bad requirements":         {text: "requirements: r.txt", files: map[string]string{"r.txt": many(60_000, "bad bad%d\n")}},
		"continued requirements":   {text: "requirements: r.txt", files: map[string]string{"r.txt": "a" + strings.Repeat("\\\n", 500_000)}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			for file, data := range c.files {
				writeTo(t, filepath.Join(dir, file), data)
			}
			src, err := source.New("image.yaml", dir, []byte(c.text+"\n"))
			if err != nil {
				t.Fatal(err)
			}
			ends(t, func() {
				_, err := Load(src)
				if err != nil {
					_ = err.Error()
				}
			})
		})
	}
}

// TestReviewIgnorePatternsAreBounded: each source layer keeps a copy of all patterns, so that a megabyte of
// patterns and some thousand layers need tens of gigabytes.
func TestReviewIgnorePatternsAreBounded(t *testing.T) {
	const layers = 40
	dir := t.TempDir()
	writeTo(t, filepath.Join(dir, ".dockerignore"), strings.Repeat("**/x\n", 40_000))
	text := "layers:\n"
	for i := range layers {
		writeTo(t, filepath.Join(dir, fmt.Sprintf("d%d/f", i)), "")
		text += fmt.Sprintf("  - source_folder: d%d\n", i)
	}
	src, _ := source.New("image.yaml", dir, []byte(text))
	plan, err := Load(src)
	if err != nil {
		t.Fatal(err)
	}
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	if m.HeapAlloc > 64<<20 {
		t.Errorf("%d layers keep %d MiB", layers, m.HeapAlloc>>20)
	}
	runtime.KeepAlive(plan)
}

// TestReviewFromEnvRunsNothingOfTheFolder: a python3 in the current folder, or in a folder of PATH that is
// relative, belongs to whoever wrote the spec.
func TestReviewFromEnvRunsNothingOfTheFolder(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"python3", "python", "bin/python3", "bin/python"} {
		writeTo(t, filepath.Join(dir, name), "#!/bin/sh\ntouch ran\n")
		if err := os.Chmod(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(dir)
	for _, list := range []string{"", ".", ":", "bin", "./bin", "." + string(os.PathListSeparator) + "bin"} {
		t.Setenv("PATH", list)
		if err := FromEnvironment("", PipOptions{}, "rich").Validate(dir); err == nil {
			t.Errorf("PATH=%q: no error", list)
		}
		if _, err := os.Stat("ran"); err == nil {
			t.Fatalf("PATH=%q: the program was run", list)
		}
	}
}
