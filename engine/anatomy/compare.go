package anatomy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/opencontainers/go-digest"
)

// Options of a comparison.
type Options struct {
	// Files bounds how many files of one layer are named; they are all counted.
	Files int
	// IgnoreTimes takes files that differ in their times only for the same.
	IgnoreTimes bool
}

// Report says what is different between two images.
type Report struct {
	Old    string        `json:"old"` // what is compared, by name
	New    string        `json:"new"`
	Images []ImageReport `json:"images"`
}

// ImageReport is about one platform.
type ImageReport struct {
	Platform string        `json:"platform"`
	Missing  string        `json:"missing,omitempty"` // "old" or "new" when that side has no such platform
	Config   []Difference  `json:"config,omitempty"`
	Layers   []LayerReport `json:"layers,omitempty"`
}

// Verdict is what came out of comparing two layers.
type Verdict string

// The verdicts.
const (
	Same    Verdict = "same"    // the same uncompressed bytes
	Form    Verdict = "form"    // the same files, written down in another way
	Differs Verdict = "differs" // at least one file is another
	Only    Verdict = "only"    // one image has the layer and the other has not
	Unknown Verdict = "unknown" // it could not be compared: Reason
)

// LayerReport is about one layer, or about those that one step has made.
type LayerReport struct {
	Step    string          `json:"step"` // what made it, as the history says
	Verdict Verdict         `json:"verdict"`
	Reason  string          `json:"reason,omitempty"`
	Old     []digest.Digest `json:"old,omitempty"` // uncompressed digests
	New     []digest.Digest `json:"new,omitempty"`
	// Counts are files by what is different about them: the keys are those of Difference.What, and "time only".
	Counts map[string]int `json:"counts,omitempty"`
	Files  []FileReport   `json:"files,omitempty"`
	More   int            `json:"more,omitempty"` // files that are not in Files
}

// FileReport is about one file.
type FileReport struct {
	Path        string       `json:"path"`
	Differences []Difference `json:"differences"`
}

// Difference is one thing that is not the same.
type Difference struct {
	What string `json:"what"` // "content", "size", "mode", "owner", "time", "kind", "link", "attributes", "gone", "new", or a key of a config
	Old  string `json:"old,omitempty"`
	New  string `json:"new,omitempty"`
}

// Same says that the images are the same but for the form of layers: nothing is different, and all could be told.
func (r *Report) Same() bool { return !r.Differs() && !r.Unknown() }

// Differs says that something is certainly different.
func (r *Report) Differs() bool {
	return slices.ContainsFunc(r.Images, func(i ImageReport) bool {
		return i.Missing != "" || len(i.Config) > 0 || slices.ContainsFunc(i.Layers, func(l LayerReport) bool { return l.Verdict == Differs || l.Verdict == Only })
	})
}

// Unknown says that a layer could not be compared.
func (r *Report) Unknown() bool {
	return slices.ContainsFunc(r.Images, func(i ImageReport) bool {
		return slices.ContainsFunc(i.Layers, func(l LayerReport) bool { return l.Verdict == Unknown })
	})
}

// Compare compares two images: platforms by their names, layers by their uncompressed digests and, where these
// are not the same, by their files. Errors are those of the sources' documents; a layer that cannot be read is a
// finding.
func Compare(ctx context.Context, old, now Source, opt Options) (*Report, error) {
	before, err := Read(ctx, old)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", old.Name(), err)
	}
	after, err := Read(ctx, now)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", now.Name(), err)
	}
	c := &comparison{old: old, now: now, opt: opt}
	r := &Report{Old: old.Name(), New: now.Name(), Images: []ImageReport{}}
	for i := range before.Images {
		a := &before.Images[i]
		b := after.platform(a.Platform)
		if b == nil {
			r.Images = append(r.Images, ImageReport{Platform: a.Platform, Missing: "new"})
			continue
		}
		img, err := c.image(ctx, a, b)
		if err != nil {
			return nil, err
		}
		r.Images = append(r.Images, img)
	}
	for i := range after.Images {
		if p := after.Images[i].Platform; before.platform(p) == nil {
			r.Images = append(r.Images, ImageReport{Platform: p, Missing: "old"})
		}
	}
	return r, nil
}

func (c *Contents) platform(name string) *Image {
	i := slices.IndexFunc(c.Images, func(i Image) bool { return i.Platform == name })
	if i < 0 {
		return nil
	}
	return &c.Images[i]
}

type comparison struct {
	old, now Source
	opt      Options
}

func (c *comparison) image(ctx context.Context, a, b *Image) (ImageReport, error) {
	r := ImageReport{Platform: b.Platform, Config: diffConfigs(a.RawConfig, b.RawConfig)}
	for _, p := range pairUp(groups(a.Layers), groups(b.Layers)) {
		l, err := c.layers(ctx, p)
		if err != nil {
			return r, err
		}
		r.Layers = append(r.Layers, l)
	}
	return r, nil
}

// files fills the report of a layer whose bytes are not the same.
func (c *comparison) files(r *LayerReport, before, after map[string]entry) {
	r.Verdict, r.Counts = Form, map[string]int{}
	for _, p := range slices.Sorted(maps.Keys(union(before, after))) {
		list := diffEntries(before, after, p)
		onlyTime := len(list) == 1 && list[0].What == "time"
		switch {
		case len(list) == 0:
			continue
		case onlyTime:
			r.Counts["time only"]++
		default:
			for _, d := range list {
				r.Counts[d.What]++
			}
		}
		if onlyTime && c.opt.IgnoreTimes {
			continue
		}
		r.Verdict = Differs
		r.add(FileReport{Path: p, Differences: list}, c.opt.Files)
	}
}

// add names a file, as long as there is room: one that differs in more than its time goes first.
func (r *LayerReport) add(f FileReport, limit int) {
	if len(r.Files) < limit {
		r.Files = append(r.Files, f)
		return
	}
	r.More++
	if i := slices.IndexFunc(r.Files, onlyTime); i >= 0 && !onlyTime(f) {
		r.Files = append(slices.Delete(r.Files, i, i+1), f)
	}
}

func onlyTime(f FileReport) bool { return len(f.Differences) == 1 && f.Differences[0].What == "time" }

func union(a, b map[string]entry) map[string]entry {
	all := maps.Clone(a)
	maps.Copy(all, b)
	return all
}

// diffEntries says what is different about one path.
func diffEntries(before, after map[string]entry, path string) []Difference {
	a, old := before[path]
	b, now := after[path]
	if !old {
		return []Difference{{What: "new"}}
	}
	if !now {
		return []Difference{{What: "gone"}}
	}
	var list []Difference
	add := func(differs bool, what, old, now string) {
		if differs {
			list = append(list, Difference{what, old, now})
		}
	}
	add(a.kind != b.kind, "kind", string(a.kind), string(b.kind))
	add(a.mode != b.mode, "mode", fmt.Sprintf("%04o", a.mode), fmt.Sprintf("%04o", b.mode))
	add(a.uid != b.uid || a.gid != b.gid, "owner", fmt.Sprintf("%d:%d", a.uid, a.gid), fmt.Sprintf("%d:%d", b.uid, b.gid))
	add(a.size != b.size, "size", fmt.Sprint(a.size), fmt.Sprint(b.size))
	add(a.size == b.size && a.sum != b.sum, "content", fmt.Sprintf("%.6x", a.sum), fmt.Sprintf("%.6x", b.sum))
	add(a.link != b.link, "link", a.link, b.link)
	add(a.xattrs != b.xattrs, "attributes", "", "")
	const layout = "2006-01-02T15:04:05.999999999Z"
	add(!a.time.Equal(b.time), "time", a.time.UTC().Format(layout), b.time.UTC().Format(layout))
	return list
}

// diffConfigs compares image configs but for what is different in each build (when it was), what follows from the
// layers, and the build cache that an image may carry along.
func diffConfigs(a, b []byte) []Difference {
	old, err := flatten(a)
	now, err2 := flatten(b)
	if errors.Join(err, err2) != nil {
		return []Difference{{What: "config"}}
	}
	keys := maps.Clone(old)
	maps.Copy(keys, now)
	var list []Difference
	for _, k := range slices.Sorted(maps.Keys(keys)) {
		if old[k] != now[k] {
			list = append(list, Difference{k, old[k], now[k]})
		}
	}
	return list
}

// flatten is the config by its keys, those of config.… one level further down.
func flatten(config []byte) (map[string]string, error) {
	var top map[string]json.RawMessage
	if err := json.Unmarshal(config, &top); err != nil {
		return nil, err
	}
	out := map[string]string{}
	for k, v := range top {
		var inner map[string]json.RawMessage
		switch {
		case k == "created" || k == "history" || k == "rootfs" || k == "moby.buildkit.cache.v0":
		case k == "config" && json.Unmarshal(v, &inner) == nil:
			for name, value := range inner {
				out["config."+name] = string(value)
			}
		default:
			out[k] = string(v)
		}
	}
	return out, nil
}
