package anatomy

import (
	"archive/tar"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/distribution/reference"
	"github.com/ibuild/ibuild/cache"
	"github.com/ibuild/ibuild/registry"
	"github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

// Source is where the parts of one image are.
type Source interface {
	// Name is what people call it.
	Name() string
	// Root is the image's manifest or index.
	Root() ocispecs.Descriptor
	// Open returns the bytes of a part; the caller closes it. Reading fails at the end when they do not have the
	// descriptor's digest and size. The error is fs.ErrNotExist or registry.ErrNotFound for what is not there.
	Open(ctx context.Context, desc ocispecs.Descriptor) (io.ReadCloser, error)
}

// fromRegistry is an image in a registry.
type fromRegistry struct {
	client *registry.Client
	name   reference.Named
	root   ocispecs.Descriptor
}

// FromRegistry asks the registry what the name points to now. The name has a tag or a digest.
func FromRegistry(ctx context.Context, c *registry.Client, name reference.Named) (Source, error) {
	root, err := c.Head(ctx, name.String())
	if err != nil {
		return nil, err
	}
	return &fromRegistry{client: c, name: name, root: root}, nil
}

func (s *fromRegistry) Name() string              { return s.name.String() }
func (s *fromRegistry) Root() ocispecs.Descriptor { return s.root }

func (s *fromRegistry) Open(ctx context.Context, desc ocispecs.Descriptor) (io.ReadCloser, error) {
	if !registry.IsIndex(desc.MediaType) && !registry.IsManifest(desc.MediaType) {
		return s.client.OpenBlob(ctx, s.name.Name(), desc)
	}
	data, err := s.client.FetchManifest(ctx, s.name.Name()+"@"+desc.Digest.String())
	if err != nil {
		return nil, err
	}
	return io.NopCloser(strings.NewReader(string(data))), nil
}

// fromCache is an image of which this machine made or saw at least a part.
type fromCache struct {
	store *cache.Store
	root  ocispecs.Descriptor
}

// FromCache reads from the local store. Parts that are not there are missed when they are opened.
func FromCache(store *cache.Store, root ocispecs.Descriptor) Source { return &fromCache{store, root} }

func (s *fromCache) Name() string              { return "the local store" }
func (s *fromCache) Root() ocispecs.Descriptor { return s.root }

func (s *fromCache) Open(ctx context.Context, desc ocispecs.Descriptor) (io.ReadCloser, error) {
	if !s.store.HasBlob(desc) {
		return nil, fmt.Errorf("%s is not in the local store: %w", desc.Digest, fs.ErrNotExist)
	}
	blobs, err := s.store.Content()
	if err != nil {
		return nil, err
	}
	at, err := blobs.ReaderAt(ctx, desc)
	if err != nil {
		return nil, err
	}
	return &part{Reader: verified(io.NewSectionReader(at, 0, at.Size()), desc), closer: at}, nil
}

// layout is an OCI image layout, in a folder or in a tar archive.
type layout struct {
	name string
	root ocispecs.Descriptor
	open func(name string) (io.ReadCloser, error) // by the name in the layout
}

func (l *layout) Name() string              { return l.name }
func (l *layout) Root() ocispecs.Descriptor { return l.root }

func (l *layout) Open(_ context.Context, desc ocispecs.Descriptor) (io.ReadCloser, error) {
	if err := desc.Digest.Validate(); err != nil {
		return nil, err
	}
	rc, err := l.open(path.Join(ocispecs.ImageBlobsDir, desc.Digest.Algorithm().String(), desc.Digest.Encoded()))
	if err != nil {
		return nil, err
	}
	return &part{Reader: verified(rc, desc), closer: rc}, nil
}

// LayoutError says that a file or folder holds no image that can be read.
type LayoutError struct{ Name, Msg string }

func (e *LayoutError) Error() string { return e.Name + ": " + e.Msg }

// FromFile opens an OCI layout: a folder, or an archive as `-o type=oci` and `-o type=docker` write it. Close ends
// the use of all its parts.
func FromFile(name string) (src Source, closer io.Closer, err error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, nil, err
	}
	l := &layout{name: name}
	if info.IsDir() {
		root, err := os.OpenRoot(name) // links in it lead nowhere else
		if err != nil {
			return nil, nil, err
		}
		l.open = func(n string) (io.ReadCloser, error) { return root.Open(filepath.FromSlash(n)) }
		closer = root
	} else {
		f, err := os.Open(name)
		if err != nil {
			return nil, nil, err
		}
		closer = f
		if l.open, err = tarFiles(f); err != nil {
			return nil, nil, errors.Join(&LayoutError{name, "not an archive: " + err.Error()}, f.Close())
		}
	}
	if l.root, err = l.only(); err != nil {
		return nil, nil, errors.Join(err, closer.Close())
	}
	return l, closer, nil
}

// only is the one image of a layout, which may have several names.
func (l *layout) only() (ocispecs.Descriptor, error) {
	var none ocispecs.Descriptor
	rc, err := l.open(ocispecs.ImageIndexFile)
	if err != nil {
		return none, &LayoutError{l.name, "no OCI layout: it has no index.json"}
	}
	defer rc.Close()
	data, err := cache.ReadAll(rc, maxDocument)
	if err != nil {
		return none, &LayoutError{l.name, "index.json: " + err.Error()}
	}
	var index ocispecs.Index
	if err := json.Unmarshal(data, &index); err != nil {
		return none, &LayoutError{l.name, "index.json: " + err.Error()}
	}
	seen := map[digest.Digest]bool{}
	for _, m := range index.Manifests {
		seen[m.Digest] = true
	}
	if len(seen) != 1 {
		return none, &LayoutError{l.name, fmt.Sprintf("it holds %d images, not one", len(seen))}
	}
	return index.Manifests[0], nil
}

// maxArchiveFiles bounds the files of an archive that are noted down.
const maxArchiveFiles = 20_000

// tarFiles finds the files of an archive, which stays open for reading them.
func tarFiles(f *os.File) (func(string) (io.ReadCloser, error), error) {
	type place struct{ at, size int64 }
	places := map[string]place{}
	tr := tar.NewReader(f)
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		at, err := f.Seek(0, io.SeekCurrent) // the reader takes headers only, and nothing ahead
		if err != nil {
			return nil, err
		}
		if len(places) == maxArchiveFiles {
			return nil, fmt.Errorf("more than %d files", maxArchiveFiles)
		}
		if h.Typeflag == tar.TypeReg {
			places[path.Clean(h.Name)] = place{at, h.Size}
		}
	}
	return func(name string) (io.ReadCloser, error) {
		p, ok := places[name]
		if !ok {
			return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
		}
		return io.NopCloser(io.NewSectionReader(f, p.at, p.size)), nil
	}, nil
}

// part is a reader with what has to be closed after it.
type part struct {
	io.Reader
	closer io.Closer
}

func (p *part) Close() error { return p.closer.Close() }

// verified returns r with an error at its end if it is not what desc says.
func verified(r io.Reader, desc ocispecs.Descriptor) io.Reader {
	return &verifier{r: io.LimitReader(r, desc.Size+1), desc: desc, sum: desc.Digest.Verifier()}
}

type verifier struct {
	r    io.Reader
	desc ocispecs.Descriptor
	sum  digest.Verifier
	n    int64
}

func (v *verifier) Read(p []byte) (int, error) {
	n, err := v.r.Read(p)
	v.n += int64(n)
	_, _ = v.sum.Write(p[:n]) // a hash has no errors
	if v.n > v.desc.Size || errors.Is(err, io.EOF) && (v.n != v.desc.Size || !v.sum.Verified()) {
		return n, fmt.Errorf("%s: the bytes do not have this digest", v.desc.Digest)
	}
	return n, err
}
