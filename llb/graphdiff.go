package llb

import (
	"fmt"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
)

// GraphDiff says what is different between two graphs, and what a builder has to do again because of it.
type GraphDiff struct {
	Images []ImageDiff `json:"images"`
}

// ImageDiff is the difference of one platform.
type ImageDiff struct {
	Platform string     `json:"platform"`
	Status   Status     `json:"status"`           // same, changed, new, gone or unknown
	Config   []Change   `json:"config,omitempty"` // of the image itself, not of a step
	Steps    []StepDiff `json:"steps,omitempty"`  // in the order of the new graph; gone ones stay where they were
}

// StepDiff is the difference of one step.
type StepDiff struct {
	Name    string   `json:"name"`
	Kind    StepKind `json:"kind"`
	Status  Status   `json:"status"`
	Changes []Change `json:"changes,omitempty"`
	// Because are the names of the steps before it that are new, gone or changed by themselves, at most maxBlame.
	Because []string `json:"because,omitempty"`
}

// Status is what became of a step or an image.
type Status string

// What becomes of a step. All but StatusSame and StatusGone have to be done.
const (
	StatusSame    Status = "same"
	StatusChanged Status = "changed" // something of its own is different
	StatusAgain   Status = "again"   // it is as it was, and depends on something that is not
	StatusNew     Status = "new"
	StatusGone    Status = "gone"
	// StatusUnknown is of hidden values whose fingerprints have other salts, and of images where nothing else may be
	// different.
	StatusUnknown Status = "unknown"
)

// Runs says that a builder has to do the step, unless it finds the result in its own cache.
func (s StepDiff) Runs() bool { return s.Status != StatusSame && s.Status != StatusGone }

// Same says that nothing is different.
func (d *GraphDiff) Same() bool {
	return !slices.ContainsFunc(d.Images, func(i ImageDiff) bool { return i.Status != StatusSame })
}

// Changed says that something is certainly different.
func (d *GraphDiff) Changed() bool {
	return slices.ContainsFunc(d.Images, func(i ImageDiff) bool { return i.Status != StatusSame && i.Status != StatusUnknown })
}

// Change is one thing that is different, or may be.
type Change struct {
	What string `json:"what"`           // a Part's, or "file"
	Name string `json:"name,omitempty"` // which one: the variable, the path
	Kind Status `json:"kind"`           // new, gone, changed or unknown
	Old  string `json:"old,omitempty"`
	New  string `json:"new,omitempty"`
	// Words is a text that changed in part, word by word; what stays is shortened. Old and New are whole.
	Words []Word `json:"-"`
}

// Word is a piece of a text that was changed: Mark is '-' for what is gone, '+' for what is new, ' ' for what stays.
type Word struct {
	Mark byte
	Text string
}

// Diff compares two graphs by their outlines. Platforms are found by their names, steps by what they do, what
// they are called and where they are, so that a step put between others is one new step.
func Diff(before, after *Outline) *GraphDiff {
	before, after = sameSalt(before, after)
	d := &GraphDiff{Images: []ImageDiff{}}
	find := func(o *Outline, platform string) *OutlineImage {
		i := slices.IndexFunc(o.Images, func(i OutlineImage) bool { return i.Platform == platform })
		if i < 0 {
			return nil
		}
		return &o.Images[i]
	}
	for i := range after.Images {
		now := &after.Images[i]
		if old := find(before, now.Platform); old != nil {
			d.Images = append(d.Images, diffImage(old, now))
		} else {
			img := diffImage(&OutlineImage{Platform: now.Platform}, now)
			img.Status, img.Config = StatusNew, nil
			d.Images = append(d.Images, img)
		}
	}
	for i := range before.Images {
		if old := &before.Images[i]; find(after, old.Platform) == nil {
			d.Images = append(d.Images, ImageDiff{Platform: old.Platform, Status: StatusGone})
		}
	}
	return d
}

// Unchanged is the difference of a graph to itself, for graphs that are known to be the same.
func Unchanged(o *Outline) *GraphDiff {
	d := &GraphDiff{Images: []ImageDiff{}}
	for _, img := range o.Images {
		same := ImageDiff{Platform: img.Platform, Status: StatusSame}
		for _, s := range img.Steps {
			same.Steps = append(same.Steps, StepDiff{Name: s.Name, Kind: s.Kind, Status: StatusSame})
		}
		d.Images = append(d.Images, same)
	}
	return d
}

func diffImage(old, now *OutlineImage) ImageDiff {
	d := ImageDiff{Platform: now.Platform, Status: StatusSame, Config: diffParts(old.Config, now.Config)}
	pairs := match(old.Steps, now.Steps) // index of the old step by the new one's, -1 for none
	taken := make([]bool, len(old.Steps))
	for _, o := range pairs {
		if o >= 0 {
			taken[o] = true
		}
	}
	roots := newCauses(old, now, pairs, taken)
	next := 0 // old step whose turn it is
	gone := func(until int) {
		for ; next < until; next++ {
			if !taken[next] {
				d.Steps = append(d.Steps, StepDiff{Name: old.Steps[next].Name, Kind: old.Steps[next].Kind, Status: StatusGone})
			}
		}
	}
	for i, until := range follow(pairs, len(old.Steps)) {
		gone(until)
		d.Steps = append(d.Steps, diffStep(old, now, i, pairs[i], roots))
	}
	gone(len(old.Steps))
	switch known := func(c Change) bool { return c.Kind != StatusUnknown }; {
	case slices.ContainsFunc(d.Config, known) || slices.ContainsFunc(d.Steps, func(s StepDiff) bool { return s.Status != StatusSame }):
		d.Status = StatusChanged
	case len(d.Config) > 0:
		d.Status = StatusUnknown
	}
	return d
}

// follow says for each new step up to which old one the old ones come before it: what is gone is told before
// what came in its place.
func follow(pairs []int, end int) []int {
	until := make([]int, len(pairs))
	for i := len(pairs) - 1; i >= 0; i-- {
		if pairs[i] >= 0 && pairs[i] < end {
			end = pairs[i]
		}
		until[i] = end
	}
	return until
}

func diffStep(old, now *OutlineImage, i, o int, roots *causes) StepDiff {
	s := &now.Steps[i]
	d := StepDiff{Name: s.Name, Kind: s.Kind, Status: StatusNew, Because: roots.names[i]}
	if o < 0 {
		return d
	}
	was := &old.Steps[o]
	switch {
	case s.Digest == was.Digest || roots.same(i, o):
		d.Status, d.Because = StatusSame, nil
	case s.Own != was.Own:
		d.Status, d.Changes = StatusChanged, ownChanges(was, s)
	default:
		d.Status = StatusAgain
		if len(d.Because) == 0 { // the steps before it are the same, and others than before
			d.Changes = []Change{{What: "place", Kind: StatusChanged, Old: inputNames(old, was), New: inputNames(now, s)}}
		}
	}
	return d
}

// inputNames says what a step comes after.
func inputNames(img *OutlineImage, s *OutlineStep) string {
	var names []string
	for _, in := range s.Inputs {
		names = append(names, img.Steps[in].Name)
	}
	if len(names) == 0 {
		return "first"
	}
	return "after " + strings.Join(names, " and ")
}

// maxBlame bounds StepDiff.Because: who is told of as many looks at the steps themselves.
const maxBlame = 20

// causes finds the steps that are different by themselves among those that a step depends on.
type causes struct {
	names    [][]string      // by the index of the new step
	old, now []digest.Digest // see contents
}

// same says that a builder finds the result of a step, though something that it could see is different.
func (c *causes) same(now, old int) bool { return old >= 0 && c.now[now] == c.old[old] }

func newCauses(old, now *OutlineImage, pairs []int, taken []bool) *causes {
	c := &causes{names: make([][]string, len(now.Steps)), old: contents(old), now: contents(now)}
	for i := range now.Steps {
		if c.same(i, pairs[i]) {
			continue
		}
		for _, in := range now.Steps[i].Inputs {
			c.add(i, c.names[in]...)
			if o := pairs[in]; o < 0 || old.Steps[o].Own != now.Steps[in].Own {
				c.add(i, now.Steps[in].Name)
			}
		}
		if o := pairs[i]; o >= 0 {
			for _, in := range old.Steps[o].Inputs {
				if !taken[in] {
					c.add(i, old.Steps[in].Name)
				}
			}
		}
	}
	return c
}

func (c *causes) add(i int, names ...string) {
	for _, n := range names {
		if len(c.names[i]) < maxBlame && !slices.Contains(c.names[i], n) {
			c.names[i] = append(c.names[i], n)
		}
	}
}

// ownChanges says what is different in a step itself.
func ownChanges(was, s *OutlineStep) []Change {
	list := append(diffParts(was.Parts, s.Parts), diffFiles(was, s)...)
	if len(list) == 0 {
		list = []Change{{What: "setting", Kind: StatusChanged}} // one that is in no part
	}
	return list
}

// diffParts compares two lists of parts, in the order of the new one. Parts of one name are compared one by one. Of
// parts that look the same, those are listed of which it cannot be told.
func diffParts(before, after []Part) []Change {
	type key struct {
		what, name string
		nth        int
	}
	index := func(list []Part) ([]key, map[key]string) {
		count, keys, values := map[key]int{}, make([]key, len(list)), map[key]string{}
		for i, p := range list {
			k := key{what: p.What, name: p.Name}
			k.nth, count[k] = count[k], count[k]+1
			keys[i], values[k] = k, p.Value
		}
		return keys, values
	}
	oldKeys, old := index(before)
	newKeys, now := index(after)
	var list []Change
	for _, k := range newKeys {
		switch was, ok := old[k]; {
		case !ok:
			list = append(list, Change{What: k.what, Name: k.name, Kind: StatusNew, New: now[k]})
		case was != now[k]:
			list = append(list, Change{What: k.what, Name: k.name, Kind: StatusChanged, Old: was, New: now[k], Words: diffWords(was, now[k])})
		case strings.Contains(was, hidden):
			list = append(list, Change{What: k.what, Name: k.name, Kind: StatusUnknown})
		}
	}
	for _, k := range oldKeys {
		if _, ok := now[k]; !ok {
			list = append(list, Change{What: k.what, Name: k.name, Kind: StatusGone, Old: old[k]})
		}
	}
	return list
}

// diffFiles compares the files that two steps read.
func diffFiles(was, s *OutlineStep) []Change {
	old := map[string]OutlineFile{}
	for _, f := range was.Files {
		old[f.Path] = f
	}
	var list []Change
	for _, f := range s.Files {
		o, ok := old[f.Path]
		delete(old, f.Path)
		switch {
		case !ok:
			list = append(list, Change{What: "file", Name: f.Path, Kind: StatusNew})
		case o != f:
			a, b := fileTexts(o, f)
			list = append(list, Change{What: "file", Name: f.Path, Kind: StatusChanged, Old: a, New: b})
		}
	}
	for _, f := range was.Files {
		if _, gone := old[f.Path]; gone {
			list = append(list, Change{What: "file", Name: f.Path, Kind: StatusGone})
		}
	}
	if len(list) == 0 && was.Unlisted+s.Unlisted > 0 {
		list = []Change{{What: "files", Kind: StatusChanged, New: fmt.Sprintf("among %d that are not listed", max(was.Unlisted, s.Unlisted))}}
	}
	return list
}

// fileTexts says what is different about one file.
func fileTexts(a, b OutlineFile) (old, now string) {
	switch {
	case a.Mode != b.Mode:
		return a.Mode, b.Mode
	case a.Link != b.Link:
		return "link to " + a.Link, "link to " + b.Link
	case a.Size != b.Size:
		return sizeText(a.Size), sizeText(b.Size)
	case a.Sum != b.Sum:
		return "", "other content of the same size"
	}
	return "", "other attributes"
}

func sizeText(n int64) string {
	if n == 1 {
		return "1 byte"
	}
	return fmt.Sprintf("%d bytes", n)
}
