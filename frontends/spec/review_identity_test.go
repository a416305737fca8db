package spec

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ibuild/ibuild/frontends/source"
	"github.com/ibuild/ibuild/llb"
)

// reviewFolder has a script, a folder and a requirements file.
func reviewFolder(t *testing.T, dir string) {
	t.Helper()
	writeTo(t, filepath.Join(dir, "run.py"), strings.Replace(scriptText, "%s", "", 1))
	writeTo(t, filepath.Join(dir, "app/main.py"), "print(1)\n")
	writeTo(t, filepath.Join(dir, "r.txt"), "rich\n")
}

// reviewImages read files in every way.
func reviewImages() map[string]Image {
	return map[string]Image{
		"copies":  DebianBase("3.12").WithCopy("app", "r.txt").WithSourceFolder("app", "/x").WithRequirements("r.txt", PipOptions{}),
		"script":  UVScript("run.py").WithSourceFile("r.txt", "data/"),
		"bundle":  DebianBase("3.12").WithCodeBundle("", "app/main.py"),
		"onefile": From("registry.example/x:1").WithSourceFile("app/main.py", "/x.py"),
	}
}

// TestReviewPlacesDoNotCount: the same folder, named and reached in many ways.
func TestReviewPlacesDoNotCount(t *testing.T) {
	dir := t.TempDir()
	reviewFolder(t, filepath.Join(dir, "real"))
	if err := os.Symlink("real", filepath.Join(dir, "linked")); err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
	for name, img := range reviewImages() {
		want := identify(t, img, placeOf(filepath.Join(dir, "real")))
		for _, other := range []string{"real", "./real", "real/", "real/.", "linked", "linked/", filepath.Join(dir, "linked"), "real/../real", filepath.Join(dir, "real") + "/"} {
			if id, err := img.Identifier(t.Context(), placeOf(other)); err != nil || id != want {
				t.Errorf("%s in %s: %s %v, want %s", name, other, id, err, want)
			}
		}
		t.Chdir(filepath.Join(dir, "real"))
		for _, other := range []string{".", "", "./"} {
			if id, err := img.Identifier(t.Context(), placeOf(other)); err != nil || id != want {
				t.Errorf("%s in %q: %s %v, want %s", name, other, id, err, want)
			}
		}
		t.Chdir(dir)
	}
}

// TestReviewSpellingsDoNotCount: paths are written in many ways.
func TestReviewSpellingsDoNotCount(t *testing.T) {
	dir := t.TempDir()
	reviewFolder(t, dir)
	at := placeOf(dir)
	for _, pair := range [][2]Image{
		{DebianBase("").WithCopy("app"), DebianBase("").WithCopy("./app/")},
		{DebianBase("").WithSourceFolder("app", "x"), DebianBase("").WithSourceFolder("./app", "./x/")},
		{DebianBase("").WithSourceFile("r.txt", "x/r.txt"), DebianBase("").WithSourceFile("./r.txt", "x/")},
		{DebianBase("").WithRequirements("r.txt", PipOptions{}), DebianBase("").WithRequirements("./r.txt", PipOptions{})},
		{DebianBase("").WithWorkdir("/srv"), DebianBase("").WithWorkdir("/srv/")},
		{From("alpine"), From("docker.io/library/alpine:latest")},
		{DebianBase("").WithPlatforms("linux/arm64"), DebianBase("").WithPlatforms("linux/arm64/v8")},
		{DebianBase("").WithAptPackages("a1", "b1"), DebianBase("").WithAptPackages("b1", "a1")},
		{UVScript("run.py"), UVScript("./run.py")},
	} {
		a, b := identify(t, pair[0], at), identify(t, pair[1], at)
		if a != b {
			left, _ := pair[0].YAML()
			right, _ := pair[1].YAML()
			t.Errorf("%s and %s are two identifiers of\n%s\n%s", a, b, left, right)
		}
	}
}

// TestReviewDifferentImagesDiffer has pairs that a careless digest takes for one.
func TestReviewDifferentImagesDiffer(t *testing.T) {
	dir := t.TempDir()
	reviewFolder(t, dir)
	at := placeOf(dir)
	for _, pair := range [][2]Image{
		{DebianBase("").WithPipPackages(PipOptions{}, "ab", "c"), DebianBase("").WithPipPackages(PipOptions{}, "a", "bc")},
		{DebianBase("").WithCmd("a b"), DebianBase("").WithCmd("a", "b")},
		{DebianBase("").WithEnv(map[string]string{"A": "1\nB=2"}), DebianBase("").WithEnv(map[string]string{"A": "1", "B": "2"})},
		{DebianBase("").WithCommands("a", "b"), DebianBase("").WithCommands("a\nb")},
		{DebianBase("").WithUser("app").WithCommands("a"), DebianBase("").WithCommands("a").WithUser("app")},
		{DebianBase("").WithSourceFolder("app", "x"), DebianBase("").WithCopy("app")},
		{DebianBase("").With(SourceFolder{Src: "app", Dst: "x", Owner: "1"}), DebianBase("").With(SourceFolder{Src: "app", Dst: "x", Owner: "1:1"})},
		{DebianBase("").WithRuntimePackages("a", "b"), DebianBase("").WithRuntimePackages("b", "a")},
		{DebianBase("").WithPlatforms("linux/amd64"), DebianBase("").WithPlatforms("linux/amd64", "linux/arm64")},
	} {
		if a, b := identify(t, pair[0], at), identify(t, pair[1], at); a == b {
			left, _ := pair[0].YAML()
			right, _ := pair[1].YAML()
			t.Errorf("%s is the identifier of both\n%s\n%s", a, left, right)
		}
	}
}

// TestReviewUmaskAndHardLinksDoNotCount: a checkout with another umask, with hard links in it.
func TestReviewUmaskAndHardLinksDoNotCount(t *testing.T) {
	one, two := t.TempDir(), t.TempDir()
	reviewFolder(t, one)
	reviewFolder(t, two)
	for _, p := range []string{"app/main.py", "r.txt", "run.py"} {
		if err := os.Chmod(filepath.Join(two, p), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Link(filepath.Join(two, p), filepath.Join(t.TempDir(), "link")); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(filepath.Join(two, "app"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, img := range reviewImages() {
		if identify(t, img, placeOf(one)) != identify(t, img, placeOf(two)) {
			t.Errorf("%s: modes count", name)
		}
	}
	writeTo(t, filepath.Join(one, "app/same.py"), "print(1)\n")
	if err := os.Link(filepath.Join(two, "app/main.py"), filepath.Join(two, "app/same.py")); err != nil {
		t.Fatal(err)
	}
	img := DebianBase("").WithCopy("app")
	if identify(t, img, placeOf(one)) != identify(t, img, placeOf(two)) {
		t.Error("a hard link counts")
	}
}

// TestReviewIgnoreFileOfScripts: local packages of a named script are seen through .dockerignore, as those of
// all layers are.
func TestReviewIgnoreFileOfScripts(t *testing.T) {
	dir := t.TempDir()
	more := "# [tool.uv.sources]\n# rich = { path = \"rich\" }\n"
	writeTo(t, filepath.Join(dir, "run.py"), strings.Replace(scriptText, "%s", more, 1))
	writeTo(t, filepath.Join(dir, "rich/pyproject.toml"), "[project]\nname='rich'\nversion='1'\n")
	writeTo(t, filepath.Join(dir, "rich/data/huge.bin"), "1")
	writeTo(t, filepath.Join(dir, ".dockerignore"), "**/data\n")
	img := UVScript("run.py")
	before, err := img.Identifier(t.Context(), placeOf(dir))
	if err != nil {
		t.Fatal(err)
	}
	writeTo(t, filepath.Join(dir, "rich/data/huge.bin"), "2")
	if identify(t, img, placeOf(dir)) != before {
		t.Error("what .dockerignore ignores is sent to the builder, and counts")
	}
}

// TestReviewMutatedArguments changes what the methods were given.
func TestReviewMutatedArguments(t *testing.T) {
	dir := t.TempDir()
	reviewFolder(t, dir)
	platforms, entries, secrets := []string{"linux/amd64"}, []string{"app/main.py"}, []Secret{{ID: "k", Env: "K"}}
	options := ProjectOptions{Groups: []string{"g"}, Secrets: secrets}
	args := map[string]string{"A": "1"}
	img := DebianBase("3.12").With(CodeBundle{Imported: true, Entries: entries}, UVProject{ProjectOptions: options}).Clone(Changes{Platforms: platforms, Layer: Apt{Packages: entries, Secrets: secrets}})
	d := Dockerfile("Dockerfile", DockerfileOptions{Args: args})
	script := UVScript("run.py", secrets...)
	pixi := PixiScript("run.py", secrets...)
	parent := DebianBase("3.12").WithPlatforms(platforms...)
	child := FromSpec(parent)
	var before []string
	all := []Image{img, d, script, pixi, child}
	for _, i := range all {
		data, _ := i.YAML()
		before = append(before, string(data))
	}
	platforms[0], entries[0], options.Groups[0], args["A"] = "x", "x", "x", "x"
	secrets[0].ID = "x"
	for n, i := range all {
		if data, _ := i.YAML(); string(data) != before[n] {
			t.Errorf("%s\nbecame\n%s", before[n], data)
		}
	}
}

// TestReviewPlansShareNothing changes a plan that was handed out.
func TestReviewPlansShareNothing(t *testing.T) {
	dir := t.TempDir()
	writeTo(t, filepath.Join(dir, "Dockerfile"), "FROM scratch\n")
	img := DebianBase("3.12").WithPlatformPackages("a1", "b1").WithPlatforms("linux/amd64").WithBuilder("local", map[string]string{"a": "1"})
	for _, i := range []Image{img, Dockerfile("Dockerfile", DockerfileOptions{Args: map[string]string{"A": "1"}}).WithLabels(map[string]string{"l": "1"})} {
		before, _ := i.YAML()
		plan, err := i.Plan(source.Source{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		for k := range plan.BuilderOptions {
			plan.BuilderOptions[k] = "x"
		}
		for k := range plan.Attrs {
			plan.Attrs[k] = "x"
		}
		if plan.Image != nil {
			for _, s := range plan.Image.Steps {
				scramble(s)
			}
		}
		if after, _ := i.YAML(); string(after) != string(before) {
			t.Errorf("%s\nbecame\n%s", before, after)
		}
	}
}

// scramble changes every text in the slices of a step.
func scramble(s llb.Step) {
	if e, ok := s.(llb.Exec); ok {
		for _, list := range [][]string{e.Args, e.Env} {
			for i := range list {
				list[i] = "x"
			}
		}
	}
}
