package engine

import (
	"cmp"
	"context"
	"encoding/json"
	"io/fs"
	"path"
	"slices"

	"github.com/ibuild/ibuild/cache"
	"github.com/ibuild/ibuild/llb"
	"github.com/ibuild/ibuild/registry"
	"github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

// A big file (a model, a data set, a binary) mostly stays the same while the code beside it changes, so it gets a
// layer of its own: a push then sends the code only, and a node that has the file unpacked keeps it. What a file
// is by its size can be seen on every machine; how often it changes cannot, so nothing else counts.
const (
	// bigFile is the size, in bytes, from which on that pays: a further layer costs one or two requests for
	// each push and pull, which is the time that a line of 100 Mbit/s needs for about a megabyte; 8 MiB is
	// won back when the code changes once in eight pushes.
	bigFile = 8 << 20
	// maxBigFiles is how many files of one step get layers of their own, the largest first.
	maxBigFiles = 8
	// maxImageLayers is how many layers an image has before nothing is split any more: overlayfs and docker
	// stop at about 125.
	maxImageLayers = 100
)

// part is what of a step becomes one layer.
type part struct {
	title   string
	entries []registry.Entry
	big     bool
}

// parts splits a step's entries into layers: big files first, each with the folders on the way to it that the
// step makes (the same folders in two layers are the same folders), then the rest. So a change of the rest is a
// change of the topmost layer.
func (l codeLayer) parts(room int) []part {
	title := llb.Title(l.step)
	var big []registry.Entry
	files := 0
	for _, e := range l.entries {
		if !e.Mode.IsDir() {
			files++
		}
		if e.Mode.IsRegular() && e.Size >= bigFile {
			big = append(big, e)
		}
	}
	slices.SortFunc(big, func(a, b registry.Entry) int { return cmp.Or(cmp.Compare(b.Size, a.Size), cmp.Compare(a.Path, b.Path)) })
	big = big[:max(0, min(len(big), maxBigFiles, room))]
	if len(big) == 0 || files == 1 {
		return []part{{title: title, entries: l.entries}}
	}
	var out []part
	own := map[string]bool{}
	for _, e := range big {
		own[e.Path] = true
		out = append(out, part{title: title + " (" + e.Path + ")", entries: append(l.foldersAbove(e.Path), e), big: true})
	}
	rest := slices.DeleteFunc(slices.Clone(l.entries), func(e registry.Entry) bool { return own[e.Path] })
	return append(out, part{title: title, entries: rest})
}

func (l codeLayer) foldersAbove(p string) []registry.Entry {
	above := map[string]bool{}
	for dir := path.Dir(p); dir != "."; dir = path.Dir(dir) {
		above[dir] = true
	}
	return slices.DeleteFunc(slices.Clone(l.entries), func(e registry.Entry) bool { return !e.Mode.IsDir() || !above[e.Path] })
}

// layersOf makes the layers of the steps in the local store. Steps that change the config only have none.
func (a *assembly) layersOf(ctx context.Context, base registry.Image, steps []codeLayer) ([]registry.Layer, error) {
	below, err := base.Layers("")
	if err != nil {
		return nil, err
	}
	var out []registry.Layer
	for _, l := range steps {
		if len(l.entries) == 0 {
			continue
		}
		made, err := a.layersOfStep(ctx, l, maxImageLayers-len(below)-len(out))
		if err != nil {
			return nil, err
		}
		out = append(out, made...)
	}
	return out, nil
}

func (a *assembly) layersOfStep(ctx context.Context, l codeLayer, room int) ([]registry.Layer, error) {
	defer l.close()
	var out []registry.Layer
	for _, p := range l.parts(room) {
		layer, err := a.layer(ctx, p)
		if err != nil {
			return nil, err
		}
		a.sendAhead(ctx, layer)
		out = append(out, layer)
	}
	return out, nil
}

// aheadFrom is the size in bytes from which on a layer is sent while the next one is made.
const aheadFrom = 8 << 20

// sendAhead begins to push a large layer, as nobody sees it there before a manifest names it. When that fails, the push
// of the whole image tries again.
func (a *assembly) sendAhead(ctx context.Context, l registry.Layer) {
	repos := a.req.Outputs.repositories()
	if len(repos) == 0 || l.Size < aheadFrom {
		return
	}
	a.ahead.Go(func() {
		_ = a.Registry.PushBlob(ctx, repos[0], registry.Blob{Descriptor: l.Descriptor, New: l.New}, &a.moved.aside)
	})
}

func (a *assembly) layer(ctx context.Context, p part) (registry.Layer, error) {
	store, err := a.Cache.Content()
	if err != nil {
		return registry.Layer{}, err
	}
	opts := registry.LayerOptions{ModTime: llb.CodeTime(a.req.Options.Epoch), CreatedBy: p.title, Codec: a.codec}
	if !p.big {
		return registry.BuildLayer(ctx, store, p.entries, opts)
	}
	key, err := bigKey(p, opts)
	if err != nil {
		return registry.Layer{}, err
	}
	known := cache.Bucket[madeLayer](a.Cache, "code-layers/1")
	if m, ok := known.Get(key); ok && a.Cache.HasBlob(m.Descriptor) {
		return registry.Layer{Descriptor: m.Descriptor, DiffID: m.DiffID, CreatedBy: p.title}, nil
	}
	layer, err := registry.BuildLayer(ctx, store, p.entries, opts)
	if err == nil {
		_ = known.Put(key, madeLayer{layer.Descriptor, layer.DiffID}) // forgotten, it is compressed again
	}
	return layer, err
}

// madeLayer is a layer of big files that was made before: to read a file is many times faster than to
// compress it.
type madeLayer struct {
	Descriptor ocispecs.Descriptor `json:"descriptor"`
	DiffID     digest.Digest       `json:"diffID"`
}

// bigKey is made of all that decides what is in a layer. No file is read for it that has a digest.
func bigKey(p part, opts registry.LayerOptions) (string, error) {
	type fact struct {
		Path     string
		Mode     fs.FileMode
		UID, GID int
		Digest   digest.Digest
	}
	var list []fact
	for i, e := range p.entries {
		if e.Mode.IsRegular() && e.Digest == "" {
			r, err := e.Open()
			if err != nil {
				return "", err
			}
			e.Digest, err = digest.Canonical.FromReader(r)
			r.Close()
			if err != nil {
				return "", err
			}
			p.entries[i].Digest = e.Digest
		}
		list = append(list, fact{e.Path, e.Mode, e.UID, e.GID, e.Digest})
	}
	data, err := json.Marshal(list)
	if err != nil {
		return "", err
	}
	return digest.FromString("layer/1 " + opts.Codec.Key() + " " + opts.ModTime.UTC().String() + "\n" + string(data)).String(), nil
}
