package uvscript

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"

	"github.com/ibuild/ibuild/frontends/source"
	"github.com/ibuild/ibuild/frontends/spec/python"
	"github.com/ibuild/ibuild/llb"
)

// ReadPixi reads a script whose header has [tool.pixi], as pixi 0.76 and later run them
// (https://pixi.prefix.dev/latest/python/scripts/), and checks it. In what it returns, Header is the pixi.toml
// that says the same, Lock is <script>.pixi.lock, and Python that of the base image, the newest where none meets
// requires-python. dir is the script's folder, as for [ReadIn]. The error is source.Errors.
//
// dependencies are packages of PyPI and requires-python is the conda package of Python, unless [tool.pixi]
// itself says which version of either it wants. A header with no word about Python gets none for that alone.
func ReadPixi(dir fs.FS, src source.Source) (Script, error) {
	b, err := find(src)
	if err != nil {
		return Script{}, err
	}
	var errs source.Errors
	h, err := readHeader(src, b, true)
	errs.Collect(err)
	s := Script{Source: src, Name: src.Base(), First: b.first, Last: b.last, Python: h.python, PythonLine: h.pythonLine, Settings: h.settings}
	errs.Collect(s.checkName())
	s.Lock, err = s.readLock(dir, ".pixi.lock", "pixi lock --script")
	errs.Collect(err)
	if len(errs) > 0 {
		return s, errs
	}
	m, err := pixiManifest(b.toml())
	if err != nil {
		return s, source.Errors{{File: src.Name, Line: b.first, Column: 1, Msg: err.Error(), Data: src.Data,
			Hint: "write [tool.pixi.workspace] with channels, and [tool.pixi.dependencies]"}}
	}
	s.PixiPython = m.wantsPython()
	s.Header, err = toml.Marshal(m.root)
	return s, err
}

// pixiTable refuses tables that mean nothing in a script: pixi knows these few there, too.
func (c *check) pixiTable(path []string, key *unstable.Node) {
	if len(path) == 0 {
		return
	}
	switch path[0] {
	case "workspace", "project", "dependencies", "pypi-dependencies", "pypi-options", "constraints", "system-requirements", "target":
		if slices.Contains(path, "activation") {
			c.activation(key)
		}
	case "activation":
		c.activation(key)
	default:
		c.failNode(key, 0, fmt.Sprintf("[tool.pixi.%s] is not for scripts", path[0]), "make a pixi project of it, and say pixi_project")
	}
}

func (c *check) activation(key *unstable.Node) {
	c.failNode(key, 0, "nobody activates the environment of an image, so its activation does not happen", "set the variables by env in the image spec")
}

// pixiPath refuses packages that are folders: a script has none.
func (c *check) pixiPath(path []string, key *unstable.Node) {
	n := len(path)
	if c.pixi && n >= 4 && path[0] == "tool" && path[1] == "pixi" && path[n-1] == "path" && strings.HasSuffix(path[n-3], "dependencies") {
		c.failNode(key, 0, fmt.Sprintf("the package %s comes from a folder, which a script does not have", path[n-2]),
			"make a pixi project of it, and say pixi_project")
	}
}

// manifest is a pixi.toml.
type manifest struct{ root map[string]any }

// pixiManifest makes a pixi.toml of a header that was checked.
func pixiManifest(header []byte) (manifest, error) {
	var h struct {
		Python       *string        `toml:"requires-python"`
		Dependencies []string       `toml:"dependencies"`
		Tool         map[string]any `toml:"tool"`
	}
	if err := toml.Unmarshal(header, &h); err != nil {
		return manifest{}, err
	}
	pixi, ok := h.Tool["pixi"].(map[string]any)
	if !ok {
		return manifest{}, errors.New("the header has no [tool.pixi]")
	}
	m := manifest{pixi}
	name := "workspace"
	if _, older := m.root["project"]; older {
		name = "project"
	}
	workspace, err := m.table(name)
	if err != nil {
		return m, err
	}
	for key, value := range map[string]any{"name": "script", "channels": []string{"conda-forge"}, "platforms": []string{llb.PixiPlatform}} {
		if _, said := workspace[key]; !said {
			workspace[key] = value
		}
	}
	return m, m.addPython(h.Python, h.Dependencies)
}

// table is a table of the manifest, made where there is none.
func (m manifest) table(name string) (map[string]any, error) {
	if _, there := m.root[name]; !there {
		m.root[name] = map[string]any{}
	}
	t, ok := m.root[name].(map[string]any)
	if !ok {
		return nil, fmt.Errorf("tool.pixi.%s is not a table", name)
	}
	return t, nil
}

// addPython adds what the header says in the words of the PEP. [tool.pixi] goes first.
func (m manifest) addPython(requires *string, requirements []string) error {
	if requires != nil || len(requirements) > 0 {
		conda, err := m.table("dependencies")
		if err != nil {
			return err
		}
		if _, said := conda["python"]; !said {
			conda["python"] = "*"
			if requires != nil {
				conda["python"] = strings.TrimPrefix(*requires, "==") // with ==, conda means the very version
			}
		}
	}
	if len(requirements) == 0 {
		return nil
	}
	pypi, err := m.table("pypi-dependencies")
	if err != nil {
		return err
	}
	said := map[string]bool{}
	for name := range pypi {
		said[python.NormalName(name)] = true
	}
	for _, text := range requirements {
		r, err := python.ParseRequirement(text)
		if err != nil {
			return err
		}
		if !said[python.NormalName(r.Name)] {
			pypi[r.Name] = pixiRequirement(r)
		}
	}
	return nil
}

// wantsPython says whether the manifest asks for Python by name.
func (m manifest) wantsPython() bool {
	conda, _ := m.root["dependencies"].(map[string]any)
	pypi, _ := m.root["pypi-dependencies"].(map[string]any)
	return conda["python"] != nil || len(pypi) > 0
}

// pixiRequirement is a requirement as a pixi.toml writes it
// (https://pixi.prefix.dev/latest/reference/pixi_manifest/#pypi-dependencies).
func pixiRequirement(r python.Requirement) map[string]any {
	out := map[string]any{}
	switch {
	case strings.HasPrefix(r.URL, "git+"):
		address, fragment, _ := strings.Cut(strings.TrimPrefix(r.URL, "git+"), "#")
		if at := strings.LastIndexByte(address, '@'); at > strings.LastIndexByte(address, '/') {
			out["rev"], address = address[at+1:], address[:at]
		}
		out["git"] = address
		if dir, ok := strings.CutPrefix(fragment, "subdirectory="); ok {
			out["subdirectory"] = dir
		}
	case r.URL != "":
		out["url"] = r.URL
	case r.Specifier == "":
		out["version"] = "*"
	default:
		out["version"] = r.Specifier
	}
	if len(r.Extras) > 0 {
		out["extras"] = r.Extras
	}
	if r.Marker != "" {
		out["env-markers"] = r.Marker
	}
	return out
}
