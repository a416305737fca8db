package registry

import (
	"archive/tar"
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/errdefs"
	"github.com/ibuild/ibuild/cache"
	"github.com/ibuild/ibuild/registry/codec"
	"github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

// Entry is one file, folder or symbolic link of a layer.
type Entry struct {
	// Path is where it is in the image, relative to its root, in the form that
	// fs.ValidPath takes: app/main.py.
	Path string
	// Mode has the type (regular, folder or symlink) and the permissions,
	// including setuid, setgid and sticky.
	Mode     fs.FileMode
	UID, GID int
	// Linkname is what a symlink points to.
	Linkname string
	// Size of a regular file in bytes, and its digest; the digest may be empty.
	// What Open delivers must have both.
	Size   int64
	Digest digest.Digest
	// Open returns a regular file's bytes. It may be nil for an empty file. It is called once, in the order of
	// paths, and by one goroutine for all entries, which may be another one than the caller's.
	Open func() (io.ReadCloser, error)
}

// LayerOptions are what a layer has beside its entries.
type LayerOptions struct {
	// ModTime is the time of all entries, in whole seconds; zero is 1970.
	ModTime time.Time
	// CreatedBy is shown in the image's history.
	CreatedBy string
	// Codec compresses the layer; zero is gzip, which everybody can read.
	Codec codec.Codec
}

// Layer is a layer in a content store.
type Layer struct {
	ocispecs.Descriptor
	// DiffID is the digest of the tar archive before compression.
	DiffID digest.Digest
	// CreatedBy is shown in the image's history.
	CreatedBy string
	// New says that the store did not have it before.
	New bool
}

// ErrFileChanged says that a file is not what it was when it was looked at.
var ErrFileChanged = errors.New("the file changed while it was read")

// BuildLayer writes the entries as a compressed tar archive into the store: the
// same bytes for the same entries in any order, with nothing of the machine in
// them. Entries for folders are made only where the caller gives them; a layer
// that names a folder of the base image changes its mode and owner.
func BuildLayer(ctx context.Context, store content.Store, entries []Entry, opts LayerOptions) (Layer, error) {
	entries = slices.Clone(entries)
	slices.SortFunc(entries, func(a, b Entry) int { return cmp.Compare(a.Path, b.Path) })
	if err := validateEntries(entries); err != nil {
		return Layer{}, err
	}
	ref := cache.IngestRef("layer")
	w, err := content.OpenWriter(ctx, store, content.WithRef(ref))
	if err != nil {
		return Layer{}, fmt.Errorf("layer: %w", err)
	}
	layer, err := writeLayer(ctx, w, entries, opts)
	w.Close()
	if err != nil {
		_ = store.Abort(context.WithoutCancel(ctx), ref)
		return Layer{}, err
	}
	return layer, nil
}

// writeLayer writes, compresses and commits the layer to w.
func writeLayer(ctx context.Context, w content.Writer, entries []Entry, opts LayerOptions) (Layer, error) {
	file := &countingWriter{w: bufio.NewWriterSize(w, 1<<20)}
	way, err := opts.codec()
	if err != nil {
		return Layer{}, err
	}
	compressed, err := way.NewWriter(file)
	if err != nil {
		return Layer{}, err
	}
	defer compressed.Close() // its goroutines end
	diff := digest.Canonical.Digester()
	tw := tar.NewWriter(io.MultiWriter(compressed, diff.Hash()))
	files := readAhead(ctx, entries)
	defer files.stop()
	for _, e := range entries {
		if err := writeEntry(ctx, tw, e, opts.ModTime, files); err != nil {
			return Layer{}, err
		}
	}
	if err := errors.Join(tw.Close(), compressed.Close(), file.w.Flush()); err != nil {
		return Layer{}, fmt.Errorf("layer: %w", err)
	}
	layer := Layer{
		Descriptor: ocispecs.Descriptor{MediaType: way.MediaType(), Digest: w.Digest(), Size: file.n},
		DiffID:     diff.Digest(),
		CreatedBy:  opts.CreatedBy,
	}
	err = w.Commit(ctx, layer.Size, layer.Digest)
	if err != nil && !errdefs.IsAlreadyExists(err) {
		return Layer{}, fmt.Errorf("layer: %w", err)
	}
	layer.New = err == nil
	return layer, nil
}

func (o LayerOptions) codec() (codec.Codec, error) {
	if o.Codec != (codec.Codec{}) {
		return o.Codec, nil
	}
	return codec.New(codec.Gzip, 0)
}

type countingWriter struct {
	w *bufio.Writer
	n int64
}

func (c *countingWriter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

// validateEntries refuses what could mean something else when it is unpacked
// than it says. entries are sorted by path.
func validateEntries(entries []Entry) error {
	if len(entries) == 0 {
		return errors.New("a layer without entries (some runtimes refuse such images)")
	}
	types := make(map[string]fs.FileMode, len(entries))
	for _, e := range entries {
		if err := validateEntry(e); err != nil {
			return err
		}
		if _, twice := types[e.Path]; twice {
			return fmt.Errorf("%q is in the layer twice", e.Path)
		}
		types[e.Path] = e.Mode.Type()
		for dir := path.Dir(e.Path); dir != "."; dir = path.Dir(dir) {
			if t, ok := types[dir]; ok && t != fs.ModeDir {
				return fmt.Errorf("%q is in the layer below %q, which is no folder", e.Path, dir)
			}
		}
	}
	return nil
}

func validateEntry(e Entry) error {
	if !fs.ValidPath(e.Path) || e.Path == "." || strings.ContainsRune(e.Path, 0) {
		return fmt.Errorf("%q is not a clean relative path", e.Path)
	}
	for part := range strings.SplitSeq(e.Path, "/") {
		if strings.HasPrefix(part, ".wh.") {
			return fmt.Errorf("%q has a name that would delete a file when the image is unpacked", e.Path)
		}
	}
	if e.UID < 0 || e.GID < 0 {
		return fmt.Errorf("%q has a negative owner", e.Path)
	}
	switch e.Mode.Type() {
	case 0:
		if e.Size < 0 || e.Open == nil && e.Size > 0 {
			return fmt.Errorf("%q has a size, but no content", e.Path)
		}
	case fs.ModeDir:
	case fs.ModeSymlink:
		if e.Linkname == "" || strings.ContainsRune(e.Linkname, 0) {
			return fmt.Errorf("%q is a link to nothing", e.Path)
		}
	default:
		return fmt.Errorf("%q is neither a file, a folder nor a symbolic link", e.Path)
	}
	return nil
}

func writeEntry(ctx context.Context, tw *tar.Writer, e Entry, modTime time.Time, files *filesAhead) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := tw.WriteHeader(header(e, modTime)); err != nil {
		return fmt.Errorf("%q: %w", e.Path, err)
	}
	if !e.hasContent() {
		return nil
	}
	rc, err := files.next()
	if err != nil {
		return fmt.Errorf("%q: %w", e.Path, err)
	}
	defer rc.Close()
	if err := copyExactly(tw, &contextReader{ctx, rc}, e); err != nil {
		return fmt.Errorf("%q: %w", e.Path, err)
	}
	return nil
}

// header leaves the format open: archive/tar takes USTAR where that is enough,
// and PAX where it is not.
func header(e Entry, modTime time.Time) *tar.Header {
	h := &tar.Header{
		Name: e.Path,
		Mode: int64(e.Mode.Perm()),
		Uid:  e.UID,
		Gid:  e.GID,
	}
	if !modTime.IsZero() {
		h.ModTime = modTime.Truncate(time.Second).UTC()
	}
	for bit, value := range map[fs.FileMode]int64{fs.ModeSetuid: 0o4000, fs.ModeSetgid: 0o2000, fs.ModeSticky: 0o1000} {
		if e.Mode&bit != 0 {
			h.Mode |= value
		}
	}
	switch e.Mode.Type() {
	case fs.ModeDir:
		h.Typeflag = tar.TypeDir
		h.Name += "/"
	case fs.ModeSymlink:
		h.Typeflag = tar.TypeSymlink
		h.Linkname = e.Linkname
	default:
		h.Typeflag = tar.TypeReg
		h.Size = e.Size
	}
	return h
}
