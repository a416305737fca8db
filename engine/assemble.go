package engine

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"

	"github.com/ibuild/ibuild/llb"
	"github.com/ibuild/ibuild/registry"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

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
	e := newEnvironment(rec, env, code, graph, b.req.Outputs.form(b.codec))
	layers, err := b.knownEnvironment(ctx, e)
	var needs *needsBuilder
	if err != nil && !(errors.As(err, &needs) && needs.unknown) {
		return nil, err
	}
	if layers == nil {
		if err := b.askForEnvironment(ctx, e); err != nil {
			return nil, err
		}
		if layers, err = e.layers(ctx); err != nil {
			return nil, err
		}
	}
	res := &Result{How: HowAssembled}
	return res, b.putTogether(ctx, e, layers, res)
}

// knownEnvironment finds the environment image where the result goes, and lays the code out on it. No
// layers and no error say that it is not there.
func (b *build) knownEnvironment(ctx context.Context, e *environment) (map[string][]codeLayer, error) {
	if b.req.Force {
		return nil, nil
	}
	defer b.openStore()()
	if b.findEnvironment(ctx, e); !e.found() {
		return nil, nil
	}
	layers, err := e.layers(ctx)
	var needs *needsBuilder
	if errors.As(err, &needs) && needs.unknown && b.recallFacts(e) {
		if layers, err = e.layers(ctx); err == nil {
			err = b.keepEnvironment(ctx, e)
		}
	}
	if err == nil {
		b.Progress.Known("environment image is known: " + e.images[e.rec.Images[0].ID].Manifest.Digest.String())
	}
	return layers, err
}

// openStore begins to open the local store, which takes some milliseconds (containerd tries what the file system can
// do), while the registry is asked. wait ends when it is open.
func (b *build) openStore() (wait func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = b.Cache.Content() // who needs it gets the error
	}()
	return func() { <-done }
}

// askForEnvironment has a builder look into the environment that is there, or make it.
func (b *build) askForEnvironment(ctx context.Context, e *environment) error {
	if e.found() && !e.in(localEnv) {
		err := b.learn(ctx, e)
		if err == nil || ctx.Err() != nil || b.openErr != nil || errors.Is(err, errOtherPlatform) {
			return err
		}
		b.Progress.Known("the builder cannot look into the environment image, so it makes it again: " + err.Error())
	}
	return b.solveEnvironment(ctx, e)
}

// putTogether makes the image out of the environment and the code layers and brings it to the outputs.
func (b *build) putTogether(ctx context.Context, e *environment, layers map[string][]codeLayer, res *Result) error {
	ctx, stop := context.WithCancel(ctx)
	a := &assembly{build: b, env: e}
	defer a.ahead.Wait()
	defer stop() // first
	err := b.Progress.Step("put the code on the environment image", func() error {
		for _, img := range e.rec.Images {
			if err := a.add(ctx, e.images[img.ID], layers[img.ID]); err != nil {
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
	images []registry.Assembled
	blobs  []registry.Blob
	root   registry.Content
	ahead  sync.WaitGroup // pushes of large layers, before the image is made
}

func (a *assembly) add(ctx context.Context, base registry.Image, layers []codeLayer) error {
	list, err := a.layersOf(ctx, base, layers)
	if err != nil {
		return err
	}
	for _, l := range list {
		a.blobs = append(a.blobs, registry.Blob{Descriptor: l.Descriptor, New: l.New})
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
	config := made.Config.Blob()
	config.New = !a.Cache.HasBlob(config.Descriptor)
	a.blobs = append(a.blobs, config)
	return nil
}

// finish makes the index, for an environment that is one. Archives are written from the local store, so they need all
// documents there; what is only pushed is kept by the push, as far as it is asked for later.
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
	if len(a.req.Outputs.Exports) == 0 {
		return nil
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
		if err := a.push(ctx, repo, res); err != nil {
			return err
		}
	}
	return files.commit()
}

// push brings the image to one repository. One that has it under a name gets no more than further names.
func (a *assembly) push(ctx context.Context, repo string, res *Result) error {
	up := registry.Upload{Repository: repo}
	there := false
	for _, n := range a.req.Outputs.Names {
		switch {
		case n.Name() != repo:
			continue
		case a.env.standing()[n.String()] == a.root.Digest:
			there = true
		default:
			up.Tags = append(up.Tags, n.String())
		}
		res.Names = append(res.Names, n.String())
	}
	if there && len(up.Tags) == 0 {
		a.Progress.Known(repo + " has this image already: nothing to push")
		return nil
	}
	below, err := a.baseLayers()
	if err != nil {
		return err
	}
	var has []registry.Blob // without a question
	switch {
	case there:
		has, up.Manifests = slices.Concat(below, a.blobs), []registry.Content{a.root}
	case a.env.in(repo):
		has, up.Blobs, up.Manifests = below, a.blobs, a.manifests()
	default:
		up.Blobs, up.Manifests = slices.Concat(below, a.blobs), a.manifests()
	}
	return a.transfer("push "+repo, func(t *registry.Traffic) error {
		for _, b := range has {
			t.Has(b.Size)
		}
		up.Traffic = t
		return a.Registry.Push(ctx, up)
	})
}

// baseLayers are the layers of the environment, with where it can be read from.
func (a *assembly) baseLayers() ([]registry.Blob, error) {
	var list []registry.Blob
	for _, img := range a.env.rec.Images {
		layers, err := a.env.images[img.ID].Layers(a.env.repos[0])
		if err != nil {
			return nil, err
		}
		list = append(list, layers...)
	}
	return list, nil
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
