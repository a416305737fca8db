package results

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"

	"github.com/ibuild/ibuild/registry"
	"github.com/ibuild/ibuild/registry/codec"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"
)

// parallel is how many layers are made and sent at a time. Each holds a pack of 32 MiB at most.
const parallel = 3

// tries is how often a file that changes while it is sent is begun anew.
const tries = 3

// Push pushes all that is below a folder as an artifact to a tag, given with its repository, and tells what it is.
// Nothing is pushed when there are no files: then the Summary has no digest. What cannot be read is left out, and not
// an error. t counts what was sent and may be nil. Errors: those of the folder, and *registry.Error.
func Push(ctx context.Context, client *registry.Client, folder, ref string, t *registry.Traffic) (Summary, error) {
	root, err := os.OpenRoot(folder)
	if err != nil {
		return Summary{}, fmt.Errorf("the folder of the results: %w", err)
	}
	defer root.Close()
	all, err := collect(root)
	if err != nil {
		return Summary{}, fmt.Errorf("the folder of the results: %w", err)
	}
	if !all.something() {
		return Summary{Left: all.left, Missed: all.missed}, nil
	}
	way, err := codec.New(codec.Zstd, 0)
	if err != nil {
		return Summary{}, err
	}
	at := strings.LastIndexByte(ref, ':')
	if at < 0 {
		return Summary{}, fmt.Errorf("%q has no tag", ref)
	}
	p := &push{collection: all, client: client, way: way, repo: ref[:at], traffic: t}
	if err := p.layers(ctx); err != nil {
		return Summary{Left: all.left, Missed: all.missed}, err
	}
	return p.finish(ctx, ref)
}

// push is one artifact on its way.
type push struct {
	*collection
	client  *registry.Client
	way     codec.Codec
	repo    string
	traffic *registry.Traffic

	made []layer // in the order of split; those without files or bytes were left out
	lock sync.Mutex
}

// layers makes and sends them.
func (p *push) layers(ctx context.Context) error {
	packs, large := p.split()
	p.made = make([]layer, len(packs)+len(large))
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(parallel)
	for i, entries := range packs {
		group.Go(func() error { return p.sendPack(gctx, i, entries) })
	}
	for i, e := range large {
		group.Go(func() error { return p.sendLarge(gctx, len(packs)+i, e) })
	}
	return group.Wait()
}

// done keeps a layer that is in the registry.
func (p *push) done(i int, l layer) {
	p.lock.Lock()
	defer p.lock.Unlock()
	p.made[i] = l
}

func (p *push) sendPack(ctx context.Context, i int, entries []entry) error {
	l, data, err := p.pack(ctx, p.way, entries)
	if err != nil {
		return err
	}
	content := registry.Content{Descriptor: l.Descriptor, Bytes: data}
	blob := content.Blob()
	blob.Trusted, blob.New = true, true
	if err := p.client.PushBlob(ctx, p.repo, blob, p.traffic); err != nil {
		return err
	}
	p.done(i, l)
	return nil
}

// sendLarge sends one file. One that changes meanwhile is begun anew, and left out when it goes on changing.
func (p *push) sendLarge(ctx context.Context, i int, e entry) error {
	for try := 1; ; try++ {
		l, err := p.measure(ctx, p.way, &e)
		if err == nil {
			err = p.sendMeasured(ctx, e, l)
		}
		var file *fileError
		switch {
		case err == nil:
			p.done(i, l)
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, registry.ErrBadAnswer):
			if again, measureErr := p.measure(ctx, p.way, &e); measureErr == nil && again.Digest == l.Digest {
				return err // it is the registry that does not want it
			}
			err = errChanged
		case errors.As(err, &file):
			err = file.error
		case errors.As(err, new(*registry.Error)):
			return err
		}
		if try == tries || !errors.Is(err, errChanged) {
			p.leave(e.path, err)
			return nil
		}
	}
}

// sendMeasured sends the layer of a file.
func (p *push) sendMeasured(ctx context.Context, e entry, l layer) error {
	return p.client.PushBlob(ctx, p.repo, registry.Blob{Descriptor: l.Descriptor, Open: func(offset int64) (io.ReadCloser, error) {
		rc, err := p.openLayer(ctx, p.way, e, offset)
		if err != nil {
			return nil, &fileError{err}
		}
		return &fileReader{rc}, nil
	}}, p.traffic)
}

// fileError is an error of a file that is read, and not of the registry.
type fileError struct{ error }

func (e *fileError) Unwrap() error { return e.error }

// fileReader marks errors as those of the file.
type fileReader struct{ io.ReadCloser }

func (r *fileReader) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p)
	if err != nil && err != io.EOF {
		err = &fileError{err}
	}
	return n, err
}

// finish pushes the manifest, once all layers are there.
func (p *push) finish(ctx context.Context, ref string) (Summary, error) {
	s := Summary{Left: p.left, Missed: p.missed}
	var layers []ocispecs.Descriptor
	for _, l := range p.made {
		if l.Digest != "" {
			layers = append(layers, l.Descriptor)
			s.Files, s.Bytes = s.Files+l.files, s.Bytes+l.bytes
		}
	}
	if len(layers) == 0 {
		return s, nil
	}
	document, err := manifest(s, layers)
	if err != nil {
		return s, err
	}
	empty := registry.Content{Descriptor: ocispecs.DescriptorEmptyJSON, Bytes: []byte("{}")}
	err = p.client.Push(ctx, registry.Upload{Repository: p.repo, Blobs: []registry.Blob{empty.Blob()},
		Manifests: []registry.Content{document}, Tags: []string{ref}})
	if err == nil {
		s.Digest = document.Digest
	}
	return s, err
}
