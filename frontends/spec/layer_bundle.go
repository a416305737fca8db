package spec

import (
	"fmt"
	"path"
	"slices"

	"go.yaml.in/yaml/v3"
)

// CodeBundle brings the user's own code: a folder with all that is in it, or only the modules that its
// scripts import. It belongs at the end, so that a change of code is nothing but new code layers.
type CodeBundle struct {
	Src string // folder in the spec's folder, "" is that itself
	Dst string // folder in the image, "" is the workdir
	// Imported brings only what Entries import from Src, directly or indirectly.
	Imported bool
	Entries  []string // scripts, relative to Src; empty: those of the entry point
	Roots    []string // folders below Src that modules are looked for in, besides Src itself
	Exclude  []string // .dockerignore patterns, relative to Src
	placed
}

// WithCodeBundle brings all code of a folder into the workdir, or only what the given scripts import.
func (img Image) WithCodeBundle(src string, entries ...string) Image {
	return img.With(CodeBundle{Src: src, Imported: len(entries) > 0, Entries: entries})
}

func (c CodeBundle) kind() string { return "code_bundle" }
func (c CodeBundle) clone() Layer {
	c.Entries, c.Roots, c.Exclude = slices.Clone(c.Entries), slices.Clone(c.Roots), slices.Clone(c.Exclude)
	return c
}
func (c CodeBundle) yaml() *yaml.Node { return encode(&c) }

func (c *CodeBundle) short(t table) field {
	return field{
		name: "mode", doc: `"all", or "imported": only the modules that the scripts import`, form: enumForm("all", "imported"),
		get: func() *yaml.Node {
			if c.Imported {
				return stringNode("imported")
			}
			return stringNode("all")
		},
		set: func(k, v *yaml.Node) {
			s, ok := t.r.text(v, k.Value)
			if ok && s != "all" && s != "imported" {
				t.r.fail(v, fmt.Sprintf("%q is not a mode of code_bundle", s), `write "all" or "imported"`)
			}
			c.Imported = s == "imported"
			t.marks.set(t.r.place(v), "mode")
		},
	}
}

func (c *CodeBundle) fields(t table) []field {
	return []field{
		c.short(t),
		t.text("src", "folder with the code; absent: the spec's own", &c.Src),
		t.text("dst", "folder in the image; absent: the workdir", &c.Dst),
		t.texts("entries", "scripts whose imports are followed, relative to src; absent: those of the entry point", &c.Entries),
		t.texts("roots", "folders below src that modules are looked for in, besides src", &c.Roots),
		t.texts("exclude", "patterns as in .dockerignore, relative to src", &c.Exclude),
	}
}

func (c CodeBundle) lower(l *lowering) {
	src, dst := path.Clean(c.Src), c.Dst
	if c.Src == "" {
		src = "."
	}
	at := c.marks.at("src")
	ok := l.checkSource(src, at)
	if dst != "" {
		ok = l.checkTarget("dst", dst, c.marks.at("dst")) && ok
	} else {
		dst = "."
	}
	exclude, valid := l.patterns(SourceFolder{Exclude: c.Exclude, placed: c.placed})
	if !ok || !valid {
		return
	}
	if !c.Imported {
		if len(c.Entries) > 0 || len(c.Roots) > 0 {
			l.fail(c.marks.at("entries"), "entries and roots go with mode: imported only", "remove them, or say mode: imported")
			return
		}
		l.copyFolder(SourceFolder{Src: src, Exclude: exclude}, dst, at)
		return
	}
	if l.folder != nil {
		c.lowerImported(l, src, dst)
	}
}

// bundle is what flytekit's flat fields say of the code.
type bundle struct {
	root   string
	mode   string
	modeAt *yaml.Node
}

func (f *flat) bundleFields() []field {
	t := table{f.reader, f.img.marks}
	root := t.text("source_root", "folder with the code that source_copy_mode brings", &f.bundle.root)
	root.inLayer = true
	return []field{
		root,
		{
			name: "source_copy_mode", doc: "none, all, or auto: only the modules that the entry point imports", form: enumForm("auto", "all", "none"),
			set: func(k, v *yaml.Node) {
				s, ok := f.text(v, k.Value)
				if ok && !slices.Contains([]string{"auto", "all", "none"}, s) {
					f.fail(v, fmt.Sprintf("%q is not a source_copy_mode", s), "write auto, all or none")
				}
				f.bundle.mode, f.bundle.modeAt = s, v
			},
		},
	}
}

// addBundle adds the code that the flat fields ask for: all of source_root, unless the mode says otherwise.
func (f *flat) addBundle(img *Image) {
	b := f.bundle
	if b.mode == "none" || b.mode == "" && b.root == "" {
		return
	}
	c := CodeBundle{Src: b.root, Imported: b.mode == "auto", placed: placed{marks{}}}
	at := img.marks.at("source_root")
	if b.modeAt != nil {
		at = f.place(b.modeAt)
	}
	c.marks.set(at)
	img.layers = append(img.layers, c)
}
