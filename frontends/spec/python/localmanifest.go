package python

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"

	"github.com/ibuild/ibuild/frontends/source"
)

// folderManifest is what of a local package's pyproject.toml decides which other paths it needs.
type folderManifest struct {
	Project struct {
		Dependencies []string            `toml:"dependencies"`
		Optional     map[string][]string `toml:"optional-dependencies"`
	} `toml:"project"`
	Tool struct {
		UV struct {
			Sources   map[string]any `toml:"sources"`
			Workspace map[string]any `toml:"workspace"`
		} `toml:"uv"`
	} `toml:"tool"`
}

// uses says whether the package depends on a name. A source that nothing uses is not looked at, by uv neither.
func (m folderManifest) uses(name string) bool {
	all := slices.Clone(m.Project.Dependencies)
	for _, list := range m.Project.Optional {
		all = append(all, list...)
	}
	return slices.ContainsFunc(all, func(text string) bool {
		r, err := ParseRequirement(text)
		return err == nil && NormalName(r.Name) == NormalName(name)
	})
}

// needs adds the paths that the project in folder takes its dependencies from ([tool.uv.sources]).
func (l *locals) needs(folder string) {
	m, src, ok := l.manifest(folder)
	if !ok {
		return
	}
	names := make([]string, 0, len(m.Tool.UV.Sources))
	for name := range m.Tool.UV.Sources {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		if !m.uses(name) {
			continue
		}
		for _, s := range Sources(m.Tool.UV.Sources[name]) {
			complain := func(msg, hint string) {
				l.errs = append(l.errs, &source.Error{File: src.Name, Msg: fmt.Sprintf("the source of %s in [tool.uv.sources]: %s", name, msg), Hint: hint})
			}
			switch {
			case s.Path != "":
				l.add(folder, s.Path, Local{Kind: KindOf(s.Path), Editable: s.Editable, File: src.Name}, complain)
			case s.Workspace:
				l.workspace(folder, src.Name, complain)
			}
		}
	}
}

// workspace adds the folder of the workspace that a project belongs to: uv reads its manifest and those
// of all its members.
func (l *locals) workspace(folder, file string, complain func(msg, hint string)) {
	for dir := folder; ; dir = path.Dir(dir) {
		m, _, ok := l.manifest(dir)
		if ok && m.Tool.UV.Workspace != nil {
			l.add(".", dir, Local{Kind: Folder, File: file}, complain)
			return
		}
		if dir == "." || ok && dir != folder { // uv asks the nearest manifest above, and no other
			complain("the workspace that it is a member of is not in the folder of the spec", "move the spec to the root of the workspace")
			return
		}
	}
}

// manifest reads the pyproject.toml of a folder; a folder without one has a setup.py.
func (l *locals) manifest(folder string) (folderManifest, source.Source, bool) {
	var m folderManifest
	name := path.Join(folder, "pyproject.toml")
	data, err := l.ReadFile(name, source.SpecLimit)
	if err != nil {
		return m, source.Source{}, false
	}
	src, err := source.New(l.Show(name), "", data)
	if err == nil {
		if err = CheckTOML(src.Data); err == nil {
			err = toml.Unmarshal(src.Data, &m)
		} else {
			err = &source.Error{File: src.Name, Msg: "this is not a valid pyproject.toml: " + err.Error()}
		}
		var de *toml.DecodeError
		if errors.As(err, &de) {
			line, column := de.Position()
			msg := strings.TrimPrefix(de.Error(), "toml: ")
			if strings.HasPrefix(msg, "cannot decode") { // goes on with names of this program
				msg = strings.Join(de.Key(), ".") + " has a value of the wrong type"
			}
			err = &source.Error{File: src.Name, Line: line, Column: column, Msg: "this is not a valid pyproject.toml: " + msg, Data: src.Data}
		}
	}
	if err != nil {
		l.errs.Collect(err)
		return m, src, false
	}
	return m, src, true
}

// Source is one entry of [tool.uv.sources]: where uv takes a dependency from.
type Source struct {
	Path, URL, Git, Index string
	Rev, Tag, Branch      string
	Subdirectory          string
	Workspace             bool
	Editable              bool
	EditableSet           bool   // editable is written down
	Package               *bool  // nil when it is not written down
	Marker                string // the source is for these environments only
	Extra, Group          string // the source is for this extra or group only
	WorkspaceRoot         string // the path of another workspace's root
}

// Sources reads one value of [tool.uv.sources]: a table, or a list of tables with conditions. What has
// another form is left out: uv refuses it with better words.
func Sources(value any) []Source {
	var list []any
	switch v := value.(type) {
	case map[string]any:
		list = []any{v}
	case []any:
		list = v
	}
	var out []Source
	for _, item := range list {
		table, ok := item.(map[string]any)
		if !ok {
			continue
		}
		text := func(key string) string { s, _ := table[key].(string); return s }
		s := Source{Path: text("path"), URL: text("url"), Git: text("git"), Index: text("index"), Rev: text("rev"), Tag: text("tag"),
			Branch: text("branch"), Subdirectory: text("subdirectory"), Marker: text("marker"), Extra: text("extra"), Group: text("group")}
		s.Workspace, _ = table["workspace"].(bool)
		s.WorkspaceRoot = text("workspace")
		s.Editable, s.EditableSet = table["editable"].(bool)
		if p, ok := table["package"].(bool); ok {
			s.Package = &p
		}
		out = append(out, s)
	}
	return out
}
