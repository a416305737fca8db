package project

import (
	"fmt"
	"path"

	"github.com/pelletier/go-toml/v2"

	"github.com/ibuild/ibuild/frontends/spec/python"
)

// ScriptLock is the lock of a single script (PEP 723), `<script>.lock`.
type ScriptLock struct {
	File           python.File
	RequiresPython string         // as the lock has it
	Locals         []python.Local // paths that the lock installs from
}

// scriptHeader is what of a script's block decides about its lock.
type scriptHeader struct {
	RequiresPython string   `toml:"requires-python"`
	Dependencies   []string `toml:"dependencies"`
	Tool           struct {
		UV uvTable `toml:"uv"`
	} `toml:"tool"`
}

// ReadScriptLock reads the lock of the script at path, and checks that it was made for the script's
// header, a TOML text that has been parsed before. A script without a lock is fine: found is false then.
func ReadScriptLock(t python.Tree, script string, header []byte) (lock ScriptLock, found bool, err error) {
	r := newReader(t)
	name := script + ".lock"
	if !r.exists(name) {
		return lock, false, nil
	}
	var h scriptHeader
	err = python.CheckTOML(header)
	if err == nil {
		err = toml.Unmarshal(header, &h)
	}
	if err != nil {
		r.ask(fmt.Sprintf("the header of %s is not valid TOML: %v", r.Show(script), err), "")
		return lock, true, r.finish()
	}
	d := r.lockOf(name, "lock")
	if d == nil {
		return lock, true, r.finish()
	}
	remedy := "uv lock --script " + r.Show(script)
	l := &uvLock{}
	if d.lock(l, remedy) {
		c := scriptComparison(r, d, script, h, l)
		c.remedy = remedy
		c.script(h)
		lock = ScriptLock{File: r.files[0], RequiresPython: l.RequiresPython, Locals: r.lockLocals(d, l, nil)}
	}
	return lock, true, r.finish()
}

// scriptComparison lets a script stand for a workspace of one project. Findings name the script and no
// line: the header's lines are the caller's.
func scriptComparison(r *reader, d *document, script string, h scriptHeader, l *uvLock) *comparison {
	at := &document{path: script, r: r, at: map[string]int{}}
	at.src.Name = r.Show(script)
	m := &manifest{document: at, dir: path.Dir(script)}
	m.Tool.UV = h.Tool.UV
	m.index()
	return &comparison{ws: &workspace{root: m}, manifest: at, lock: l, dir: path.Dir(d.path), name: d.src.Name, settings: h.Tool.UV.uvSettings, left: maxComparisons}
}

func (c *comparison) script(h scriptHeader) {
	root := c.ws.root
	var want []keyed
	for _, text := range h.Dependencies {
		if e, ok := c.declared(root, text, ""); ok {
			want = append(want, keyed{e, []string{"dependencies", "0"}})
		}
	}
	c.entries(root.document, want, c.lock.Manifest.Requirements, false)
	if h.RequiresPython != "" {
		c.requiresPython(root.document, []string{h.RequiresPython})
	}
	c.options(root.document)
	c.rules(root, "constraint-dependencies", h.Tool.UV.Constraints, c.lock.Manifest.Constraints)
	c.rules(root, "build-constraint-dependencies", h.Tool.UV.BuildConstrain, c.lock.Manifest.BuildConstraints)
	if texts, ok := allTexts(h.Tool.UV.Overrides); ok {
		c.rules(root, "override-dependencies", texts, c.lock.Manifest.Overrides)
	}
	c.excludes(root)
}
