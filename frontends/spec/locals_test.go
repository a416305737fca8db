package spec

import (
	"os"
	"path/filepath"
	"testing"
)

// TestLocalDependenciesCount changes a file of every kind of package that an image brings from the spec's folder,
// editable or not: what is installed is another image. Where only a project's dependencies are installed, its
// sources, and those of its workspace, are no part of the image.
func TestLocalDependenciesCount(t *testing.T) {
	const script = `# /// script
# requires-python = ">=3.11"
# dependencies = ["tool", "pkg"]
# [tool.uv.sources]
# tool = { path = "tool" }
# pkg = { path = "pkg", editable = true }
# ///
`
	none := PipOptions{}
	for name, c := range map[string]struct {
		from  string // folder below testdata
		img   Image
		file  string
		stays bool
	}{
		"requirements, editable": {"locals", DebianBase("3.12").WithRequirements("requirements.txt", none), "pkg/pkg.py", false},
		"requirements, folder":   {"locals", DebianBase("3.12").WithRequirements("requirements.txt", none), "tool/src/tool/__init__.py", false},
		"requirements, wheel":    {"locals", DebianBase("3.12").WithRequirements("requirements.txt", none), "wheels/hello-1.0-py3-none-any.whl", false},
		"pip, folder":            {"locals", DebianBase("3.12").WithPipPackages(none, "./tool"), "tool/src/tool/__init__.py", false},
		"pip, another folder":    {"locals", DebianBase("3.12").WithPipPackages(none, "./tool"), "pkg/pkg.py", true},
		"platform, folder":       {"locals", DebianBase("3.12").WithPlatformPackages("./tool"), "tool/pyproject.toml", false},
		"script, folder":         {"locals", UVScript("main.py"), "tool/src/tool/__init__.py", false},
		"script, editable":       {"locals", UVScript("main.py"), "pkg/pkg.py", false},
		"uv, the project":        {"uvproject", DebianBase("3.12").WithUVProject(ProjectOptions{InstallProject: true}), "src/shop/__init__.py", false},
		"uv, an editable member": {"uvproject", DebianBase("3.12").WithUVProject(ProjectOptions{InstallProject: true}), "packages/core/src/core/__init__.py", false},
		"uv, dependencies only":  {"uvproject", DebianBase("3.12").WithUVProject(ProjectOptions{}), "packages/core/src/core/__init__.py", true},
		"poetry, the project":    {"poetry", DebianBase("3.13").WithPoetryProject(ProjectOptions{InstallProject: true}), "letters/__init__.py", false},
		"poetry, dependencies":   {"poetry", DebianBase("3.13").WithPoetryProject(ProjectOptions{}), "letters/__init__.py", true},
		"pixi, editable":         {"pixi", DebianBase("3.12").WithPixiProject(PixiOptions{}), "libs/tools/tools.py", false},
		"conda's pip, a folder":  {"locals", DebianBase("3.12").With(Conda{File: "environment.yml"}), "tool/src/tool/__init__.py", false},
	} {
		t.Run(name, func(t *testing.T) {
			at := placeOf(t.TempDir())
			if err := os.CopyFS(at.Source.Dir, os.DirFS(filepath.Join("testdata", c.from))); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(at.Source.Dir, c.file)
			for name, text := range map[string]string{"main.py": script, "environment.yml": "dependencies: [python=3.12, pip, {pip: [./tool]}]\n", "libs/tools/tools.py": "x = 1\n"} {
				writeTo(t, filepath.Join(at.Source.Dir, name), text)
			}
			before := identify(t, c.img, at)
			old, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			writeTo(t, path, string(old)+"\n# changed\n")
			if same := identify(t, c.img, at) == before; same != c.stays {
				t.Errorf("a change of %s leaves the identity: %v", c.file, same)
			}
		})
	}
}
