package engine

import (
	"context"
	"errors"
	"strings"
	"sync"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/distribution/reference"
	"github.com/ibuild/ibuild/cache"
	"github.com/ibuild/ibuild/llb"
	"github.com/ibuild/ibuild/registry"
	"github.com/moby/buildkit/client"
	gateway "github.com/moby/buildkit/frontend/gateway/client"
	"github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

// localEnv is the name that environment images have which are in the local store only.
const localEnv = "ibuild.local/environment"

// environment is an image that code is put on.
type environment struct {
	rec   *llb.Recording
	id    digest.Digest
	code  []llb.Step
	img   *llb.Image
	facts map[string]*Facts // by the platform's ID
	desc  ocispecs.Descriptor
}

// assemble puts the code on the environment image, which a builder makes if it is not there. A
// *needsBuilder error says that this cannot be done without a builder.
func (b *build) assemble(ctx context.Context, env *llb.Image, code []llb.Step) (*Result, error) {
	rec, err := b.record(ctx, env.BuildFunc(b.req.Options))
	if err != nil {
		return nil, err
	}
	graph, err := rec.Graph(ctx)
	if err != nil {
		return nil, err
	}
	e := &environment{rec: rec, img: env, code: code, facts: map[string]*Facts{}, id: digest.FromString("environment/1 oci gzip\n" + graph.Identity().String())}
	layers, err := b.knownEnvironment(ctx, e)
	var needs *needsBuilder
	if errors.As(err, &needs) && !needs.unknown {
		return nil, err
	}
	res := &Result{How: HowAssembled}
	if err != nil || layers == nil {
		if err := b.solveEnvironment(ctx, e); err != nil {
			return nil, err
		}
		if layers, err = e.layers(ctx); err != nil {
			return nil, err
		}
	} else {
		b.Progress.Known("environment image is known: " + e.desc.Digest.String())
	}
	return res, b.putTogether(ctx, e, layers, res)
}

// knownEnvironment finds the environment image where the result goes, and lays the code out on it. No
// layers and no error say that it is not there.
func (b *build) knownEnvironment(ctx context.Context, e *environment) (map[string][]codeLayer, error) {
	if b.req.Force || !b.findEnvironment(ctx, e) {
		return nil, nil
	}
	for _, img := range e.rec.Images {
		f, ok := cache.Facts[Facts](b.Cache).Get(e.factsKey(img))
		if !ok {
			return nil, nil
		}
		e.facts[img.ID] = &f
	}
	return e.layers(ctx)
}

// findEnvironment looks the environment image up wherever the result goes. It has to be the same one in
// all of these places.
func (b *build) findEnvironment(ctx context.Context, e *environment) bool {
	for _, repo := range b.req.Outputs.repositories() {
		d, err := b.Registry.Head(ctx, repo+":"+e.tag())
		if err != nil || e.desc.Digest != "" && d.Digest != e.desc.Digest {
			return false
		}
		e.desc = d
	}
	if len(b.req.Outputs.Exports) > 0 {
		r, ok := cache.Results(b.Cache).Get("local " + e.id.String())
		if !ok || e.desc.Digest != "" && r.Descriptor.Digest != e.desc.Digest || !b.wholeLocally(ctx, r.Descriptor) {
			return false
		}
		e.desc = r.Descriptor
	}
	return e.desc.Digest != ""
}

// wholeLocally says whether the local store has an image with all that it names.
func (b *build) wholeLocally(ctx context.Context, desc ocispecs.Descriptor) bool {
	store, err := b.Cache.Content()
	if err != nil {
		return false
	}
	whole := true
	err = images.Walk(ctx, images.HandlerFunc(func(ctx context.Context, d ocispecs.Descriptor) ([]ocispecs.Descriptor, error) {
		if !b.Cache.HasBlob(d) {
			whole = false
			return nil, images.ErrStopHandler
		}
		return images.Children(ctx, store, d)
	}), desc)
	return err == nil && whole
}

func (e *environment) tag() string { return "ibuild-env-" + e.id.Encoded()[:32] }

// factsKey names the image itself: two builds of one definition may make different trees.
func (e *environment) factsKey(img llb.RecordedImage) string {
	return "tree/2 " + e.desc.Digest.String() + " " + img.ID
}

// layers lays the code out on every platform of the environment.
func (e *environment) layers(ctx context.Context) (map[string][]codeLayer, error) {
	out := map[string][]codeLayer{}
	for _, img := range e.rec.Images {
		config, err := llb.ParseConfig(img.Config, img.Platform)
		if err != nil {
			return nil, err
		}
		tree := &codeTree{facts: e.facts[img.ID], added: map[string]Kind{}}
		if out[img.ID], err = tree.layers(ctx, e.img, e.code, config); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// solveEnvironment has the builder make the environment image, learns the facts about its tree, and puts
// it where the result goes.
func (b *build) solveEnvironment(ctx context.Context, e *environment) error {
	var mu sync.Mutex
	look := func(ctx context.Context, img llb.RecordedImage, ref gateway.Reference) error {
		config, err := llb.ParseConfig(img.Config, img.Platform)
		if err != nil {
			return err
		}
		paths, err := codePaths(ctx, e.img, e.code, config)
		if err != nil {
			return err
		}
		f := &Facts{}
		if err := f.look(ctx, ref, paths); err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		e.facts[img.ID] = f
		return nil
	}
	exports, err := b.environmentExports()
	if err != nil {
		return err
	}
	before, err := e.rec.Stamp(ctx)
	if err != nil {
		return err
	}
	resp, err := nativeFirst(ctx, b, e.img, e.rec, func(rec *llb.Recording) (map[string]string, error) {
		return b.run1(ctx, func(m llb.Machine) gateway.BuildFunc { return rec.Replay(m.Apply, look) }, platformAttrs(rec), exports)
	})
	if err != nil {
		return err
	}
	if e.desc, err = descriptor(resp); err != nil {
		return err
	}
	if after, err := e.rec.Stamp(ctx); err != nil || after != before {
		return err // its name would not be true: files that it was made of have changed
	}
	return b.keepEnvironment(ctx, e)
}

func (b *build) environmentExports() ([]client.ExportEntry, error) {
	o := &build{Engine: b.Engine, req: b.req}
	o.req.Outputs.Exports = nil
	out, err := o.openOutputs()
	if err != nil {
		return nil, err
	}
	if len(b.req.Outputs.Exports) > 0 {
		store, err := b.Cache.Content()
		if err != nil {
			return nil, err
		}
		out.entries = append(out.entries, client.ExportEntry{Type: client.ExporterOCI, OutputStore: store, Attrs: map[string]string{"tar": "false", "oci-mediatypes": "true"}})
	}
	return out.entries, nil
}

// keepEnvironment tags the environment image in its repositories, so that the registry keeps it and the
// next build finds it, and remembers the facts.
func (b *build) keepEnvironment(ctx context.Context, e *environment) error {
	for _, repo := range b.req.Outputs.repositories() {
		named, err := reference.ParseNormalizedNamed(repo)
		if err != nil {
			return err
		}
		name, err := reference.WithTag(named, e.tag())
		if err != nil {
			return err
		}
		if err := b.Progress.Step("keep the environment as "+reference.FamiliarString(name), func() error { return b.tag(ctx, name, e.desc) }); err != nil {
			return err
		}
	}
	facts := map[string]Facts{}
	for _, img := range e.rec.Images {
		facts[e.factsKey(img)] = *e.facts[img.ID]
	}
	_ = cache.Facts[Facts](b.Cache).PutAll(facts) // lost facts cost a visit to the builder
	if len(b.req.Outputs.Exports) > 0 {
		b.remember("local", e.id, e.rec, e.desc, "")
	}
	return nil
}

// putTogether makes the image out of the environment and the code layers and brings it to the outputs.
func (b *build) putTogether(ctx context.Context, e *environment, layers map[string][]codeLayer, res *Result) error {
	repo := localEnv
	if repos := b.req.Outputs.repositories(); len(repos) > 0 {
		repo = repos[0]
	}
	a := &assembly{build: b, env: e, repo: repo}
	err := b.Progress.Step("put the code on the environment image", func() error {
		for _, img := range e.rec.Images {
			if err := a.add(ctx, img, layers[img.ID]); err != nil {
				return err
			}
		}
		return a.finish(ctx)
	})
	if err != nil {
		return err
	}
	res.Descriptor = a.root.Descriptor
	res.Descriptor.Platform = nil
	if len(e.rec.Images) == 1 {
		res.ConfigDigest = a.images[0].Config.Digest.String()
	}
	return a.deliver(ctx, res)
}

// assembly collects the parts of the new image.
type assembly struct {
	*build
	env    *environment
	repo   string // where the environment can be read from
	images []registry.Assembled
	blobs  []registry.Blob
	root   registry.Content
}

func (a *assembly) add(ctx context.Context, img llb.RecordedImage, layers []codeLayer) error {
	base, err := a.Registry.Resolve(ctx, byDigest(a.repo, a.env.desc.Digest), img.Platform)
	if err != nil {
		return err
	}
	store, err := a.Cache.Content()
	if err != nil {
		return err
	}
	var list []registry.Layer
	for _, l := range layers {
		if len(l.entries) == 0 {
			continue
		}
		layer, err := registry.BuildLayer(ctx, store, l.entries, registry.LayerOptions{
			ModTime: llb.CodeTime(a.req.Options.Epoch), CreatedBy: llb.Title(l.step),
		})
		if err != nil {
			return err
		}
		list = append(list, layer)
		a.blobs = append(a.blobs, registry.Blob{Descriptor: layer.Descriptor})
	}
	opts := registry.AssembleOptions{Edit: func(c *registry.Config) error {
		config := llb.EditConfig(c)
		for _, l := range layers {
			config.Apply(l.step, nil)
		}
		config.SetImageID(a.imageID)
		if a.req.Options.Epoch != nil {
			config.SetCreated(a.req.Options.Epoch)
		}
		return nil
	}}
	if a.req.Options.Epoch != nil {
		opts.Created = *a.req.Options.Epoch
	}
	made, err := registry.Assemble(base.Parts(), list, opts)
	if err != nil {
		return err
	}
	a.images = append(a.images, made)
	a.blobs = append(a.blobs, made.Config.Blob())
	return nil
}

// finish makes the index, for an environment that is one, and keeps all documents in the local store.
func (a *assembly) finish(ctx context.Context) (err error) {
	a.root = a.images[0].Manifest
	if len(a.images) > 1 {
		var list []ocispecs.Descriptor
		for _, i := range a.images {
			list = append(list, i.Manifest.Descriptor)
		}
		if a.root, err = registry.Index(list); err != nil {
			return err
		}
	}
	for _, c := range a.documents() {
		if _, err := a.Cache.WriteBlob(ctx, c.MediaType, c.Bytes); err != nil {
			return err
		}
	}
	return nil
}

func (a *assembly) documents() []registry.Content {
	var list []registry.Content
	for _, i := range a.images {
		list = append(list, i.Config)
	}
	return append(list, a.manifests()...)
}

// manifests lists what has to be put into a repository, the root last.
func (a *assembly) manifests() []registry.Content {
	var list []registry.Content
	for _, i := range a.images {
		list = append(list, i.Manifest)
	}
	if len(a.images) > 1 {
		list = append(list, a.root)
	}
	return list
}

// deliver writes the archives, pushes the image, its tags last, and then lets the archives appear.
func (a *assembly) deliver(ctx context.Context, res *Result) error {
	files := &outputs{}
	defer files.discard()
	for _, e := range a.req.Outputs.Exports {
		if err := a.Progress.Step("write "+e.Dest, func() error { return a.archive(ctx, files, e) }); err != nil {
			return err
		}
	}
	if err := a.stillTrue(ctx); err != nil {
		return err
	}
	for _, repo := range a.req.Outputs.repositories() {
		up := registry.Upload{Repository: repo, Blobs: a.blobs, Manifests: a.manifests()}
		for _, n := range a.req.Outputs.Names {
			if n.Name() == repo {
				up.Tags = append(up.Tags, n.String())
			}
		}
		if err := a.Progress.Step("push "+repo, func() error { return a.Registry.Push(ctx, up) }); err != nil {
			return err
		}
		res.Names = append(res.Names, up.Tags...)
	}
	return files.commit()
}

func (a *assembly) archive(ctx context.Context, files *outputs, e Export) error {
	store, err := a.Cache.Content()
	if err != nil {
		return err
	}
	w, err := files.create(e.Dest)
	if err != nil {
		return err
	}
	var names []string
	for _, n := range a.req.Outputs.Names {
		names = append(names, n.String())
	}
	if n, ok := e.Attrs["name"]; ok {
		names = strings.Split(n, ",")
	}
	err = registry.WriteArchive(ctx, w, store, registry.Archive{Format: registry.ArchiveFormat(e.Type), Root: a.root.Descriptor, Names: names})
	if e.Dest != "-" {
		err = errors.Join(err, w.Close())
	}
	return err
}
