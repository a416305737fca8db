package pyindex

import "fmt"

// release is one version of a package.
type release struct {
	name, version string
	sdist         bool // a source distribution and no wheel
}

// releases lists what the index has: a package with a console script in two
// versions, one that has to be built, and one whose newest version has to be.
func releases() []release {
	return []release{
		{name: "ibuild-private-hello", version: "1.0"},
		{name: "ibuild-private-hello", version: "1.1"},
		{name: "ibuild-sdist-only", version: "1.0", sdist: true},
		{name: "ibuild-newest-sdist", version: "1.0"},
		{name: "ibuild-newest-sdist", version: "2.0", sdist: true},
	}
}

// file is one file of an archive.
type file struct{ path, text string }

// module is the package's name in Python and at the start of file names.
func (r release) module() string {
	out := []byte(r.name)
	for i, c := range out {
		if c == '-' {
			out[i] = '_'
		}
	}
	return string(out)
}

// stem is how the names of the release's archives begin.
func (r release) stem() string { return r.module() + "-" + r.version }

func (r release) metadata() string {
	return fmt.Sprintf("Metadata-Version: 2.1\nName: %s\nVersion: %s\nSummary: a package of ibuild's tests\nRequires-Python: >=3.8\n", r.name, r.version)
}

// code is the package itself; its console script says who it is.
func (r release) code() file {
	return file{r.module() + "/__init__.py", fmt.Sprintf("def main():\n    print(%q)\n", r.name+" "+r.version)}
}

// entryPoints gives the console script the package's name.
func (r release) entryPoints() string {
	return fmt.Sprintf("[console_scripts]\n%s = %s:main\n", r.name, r.module())
}

// archive is the release's one file and its name.
func (r release) archive() (string, []byte, error) {
	if r.sdist {
		data, err := r.source()
		return r.stem() + ".tar.gz", data, err
	}
	data, err := r.wheel()
	return r.stem() + "-py3-none-any.whl", data, err
}
