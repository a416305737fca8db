package registry

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/distribution/reference"
	"github.com/ibuild/ibuild/cache"
	"github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"
)

// Bounds of what is read of layouts and archives.
const (
	maxArchiveFiles  = 20_000  // files that are noted down
	maxArchiveNames  = 8 << 20 // bytes of all their names
	maxArchiveIndex  = 4 << 20 // bytes of index.json and manifest.json
	maxArchiveImages = 1000    // in one archive
	maxArchiveLinks  = 8       // from a name to a file, one after the other
)

// LayoutError says that a file or folder holds no image that can be read.
type LayoutError struct{ Name, Msg string }

// Error names the file or folder.
func (e *LayoutError) Error() string { return e.Name + ": " + e.Msg }

// Layout is an OCI image layout in a folder or a tar archive, or an archive of docker save. It is not trusted: nothing
// of it is unpacked, links lead nowhere else, and blobs are verified. It is safe for concurrent use.
type Layout struct {
	name   string
	files  layoutFiles
	images []LayoutImage
}

// LayoutImage is an image in a layout.
type LayoutImage struct {
	// Names are the references that the layout gives the image, such as docker.io/team/app:1.0.
	Names []string
	// Tags are other names, of one word each.
	Tags []string
	// Root is the manifest or index; without digest for an image in docker's old form, see [Client.FromLayout].
	Root   ocispecs.Descriptor
	docker *dockerImage // in docker's old form
}

// layoutFiles are files by their clean relative names.
type layoutFiles interface {
	// open returns a file and its size. The error is fs.ErrNotExist for what is no regular file or not there.
	open(name string) (layoutFile, error)
	Close() error
}

type layoutFile struct {
	io.ReaderAt
	size   int64
	closer io.Closer
}

// OpenLayout opens a folder, or an archive as ibuild, docker save, podman and skopeo write them. Close ends the use of
// all its parts. Errors: *LayoutError, or those of opening files.
func OpenLayout(name string) (*Layout, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		root, err := os.OpenRoot(name)
		if err != nil {
			return nil, err
		}
		return newLayout(name, folderFiles{root})
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	return OpenArchive(name, f)
}

// OpenArchive is OpenLayout for an open file, which is closed with the layout, or at once when there is an error.
func OpenArchive(name string, f *os.File) (*Layout, error) {
	files, err := tarFiles(f)
	if err != nil {
		return nil, errors.Join(&LayoutError{name, "not an archive: " + printable(err.Error())}, f.Close())
	}
	return newLayout(name, files)
}

func newLayout(name string, files layoutFiles) (*Layout, error) {
	l := &Layout{name: name, files: files}
	err := l.readIndex()
	if errors.Is(err, fs.ErrNotExist) {
		err = l.readDocker()
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = &LayoutError{name, "no OCI layout: it has no index.json"}
	}
	if err != nil {
		return nil, errors.Join(err, files.Close())
	}
	return l, nil
}

// Close ends the use of the layout.
func (l *Layout) Close() error { return l.files.Close() }

// Name is the file or folder.
func (l *Layout) Name() string { return l.name }

// Images are in the order of the layout, each once.
func (l *Layout) Images() []LayoutImage { return slices.Clone(l.images) }

// Find returns the one image that has a name or tag, or the only one for "". Errors: *LayoutError.
func (l *Layout) Find(name string) (LayoutImage, error) {
	if name == "" {
		if len(l.images) != 1 {
			return LayoutImage{}, &LayoutError{l.name, fmt.Sprintf("it holds %d images, not one%s", len(l.images), l.names())}
		}
		return l.images[0], nil
	}
	full := name
	if named, err := reference.ParseNormalizedNamed(name); err == nil {
		full = reference.TagNameOnly(named).String()
	}
	var found []LayoutImage
	for _, img := range l.images {
		if slices.Contains(img.Tags, name) || slices.ContainsFunc(img.Names, func(n string) bool { return n == full || strings.HasSuffix(n, ":"+name) }) {
			found = append(found, img)
		}
	}
	if len(found) != 1 {
		return LayoutImage{}, &LayoutError{l.name, fmt.Sprintf("it holds %d images with the name %s%s", len(found), name, l.names())}
	}
	return found[0], nil
}

// names lists what the images are called, for errors.
func (l *Layout) names() string {
	var all []string
	for _, img := range l.images {
		all = append(append(all, img.Names...), img.Tags...)
	}
	if len(all) == 0 {
		return ""
	}
	return "; it names " + printable(strings.Join(all, ", "))
}

// read returns a small file.
func (l *Layout) read(name string, limit int64) ([]byte, error) {
	f, err := l.files.open(name)
	if err != nil {
		return nil, err
	}
	defer f.closer.Close()
	if f.size > limit {
		return nil, &LayoutError{l.name, fmt.Sprintf("%s has %d bytes, more than the limit of %d", printable(name), f.size, limit)}
	}
	data, err := cache.ReadAll(io.NewSectionReader(f, 0, f.size), limit)
	if err != nil {
		return nil, &LayoutError{l.name, fmt.Sprintf("%s: %v", printable(name), err)}
	}
	return data, nil
}

// readIndex reads index.json. An image that has several names is named by several of its entries.
func (l *Layout) readIndex() error {
	data, err := l.read(ocispecs.ImageIndexFile, maxArchiveIndex)
	if err != nil {
		return err
	}
	doc, err := decodeDocument(data, limits{manifest: maxArchiveIndex, indexEntries: maxArchiveImages})
	var known *Error
	if errors.As(err, &known) {
		return &LayoutError{l.name, "index.json: " + known.Msg}
	}
	if err == nil && doc.index == nil {
		return &LayoutError{l.name, "index.json: not an index"}
	}
	for _, e := range doc.index {
		at := slices.IndexFunc(l.images, func(img LayoutImage) bool { return img.Root.Digest == e.Digest })
		if at < 0 {
			at = len(l.images)
			l.images = append(l.images, LayoutImage{Root: ocispecs.Descriptor{MediaType: e.MediaType, Digest: e.Digest, Size: e.Size}})
		}
		l.images[at].call(e.Annotations)
	}
	return err
}

// call adds the names that an entry of index.json gives to an image: containerd's whole one, or OCI's, which is a tag
// for most programs, and a whole name for some.
func (img *LayoutImage) call(annotations map[string]string) {
	for _, n := range []string{annotations[images.AnnotationImageName], annotations[ocispecs.AnnotationRefName]} {
		if n == "" {
			continue
		}
		if named, err := reference.ParseNormalizedNamed(n); err == nil && strings.ContainsAny(n, "/:") {
			if full := reference.TagNameOnly(named).String(); !slices.Contains(img.Names, full) {
				img.Names = append(img.Names, full)
			}
			return
		}
		if !slices.Contains(img.Tags, n) {
			img.Tags = append(img.Tags, n)
		}
	}
}

// Source returns an image of the layout. One in docker's old form is an error: see [Client.FromLayout].
func (l *Layout) Source(img LayoutImage) (Source, error) {
	if img.docker != nil {
		return nil, &LayoutError{l.name, "an archive in docker's old form, without manifests; ibuild load and ibuild copy take it"}
	}
	return &layoutSource{layout: l, root: img.Root}, nil
}

// layoutSource is one image of a layout.
type layoutSource struct {
	layout *Layout
	root   ocispecs.Descriptor
	made   map[digest.Digest]Blob // what is not in the layout as it is: see FromLayout
}

func (s *layoutSource) Name() string              { return s.layout.name }
func (s *layoutSource) Root() ocispecs.Descriptor { return s.root }

func (s *layoutSource) Open(_ context.Context, desc ocispecs.Descriptor, offset int64) (io.ReadCloser, error) {
	if err := desc.Digest.Validate(); err != nil {
		return nil, err
	}
	if b, ok := s.made[desc.Digest]; ok {
		return b.Open(offset)
	}
	f, err := s.layout.files.open(path.Join(ocispecs.ImageBlobsDir, desc.Digest.Algorithm().String(), desc.Digest.Encoded()))
	if err != nil {
		return nil, err
	}
	return section(s.layout.name, f, desc, offset), nil
}

// folderFiles are the files of a folder. Links in it lead nowhere else.
type folderFiles struct{ *os.Root }

func (r folderFiles) open(name string) (layoutFile, error) {
	// Without waiting: a pipe has no end.
	f, err := r.OpenFile(filepath.FromSlash(name), os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return layoutFile{}, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	if err != nil {
		return layoutFile{}, errors.Join(err, f.Close())
	}
	return layoutFile{f, info.Size(), f}, nil
}

// archiveFiles says where in an archive its files are.
type archiveFiles struct {
	*os.File
	places map[string]archivePlace
	links  map[string]string // symbolic and hard links, by clean names
}

type archivePlace struct{ at, size int64 }

// tarFiles finds the files of an archive, which stays open for reading them.
func tarFiles(f *os.File) (*archiveFiles, error) {
	start := make([]byte, 6)
	if n, _ := f.ReadAt(start, 0); compressionOf(start[:n]) != "" {
		return nil, errors.New("it is compressed as a whole; unpack it first, e.g. gunzip -c FILE | ibuild load -i -")
	}
	a := &archiveFiles{File: f, places: map[string]archivePlace{}, links: map[string]string{}}
	tr, names := tar.NewReader(f), 0
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return a, nil
		}
		if err != nil {
			return nil, err
		}
		at, err := f.Seek(0, io.SeekCurrent) // the reader takes headers only, and nothing ahead
		if err != nil {
			return nil, err
		}
		if names += len(h.Name) + len(h.Linkname); len(a.places)+len(a.links) == maxArchiveFiles || names > maxArchiveNames {
			return nil, fmt.Errorf("more than %d files, or %d bytes of names", maxArchiveFiles, maxArchiveNames)
		}
		if err := a.add(h, at); err != nil {
			return nil, err
		}
	}
}

func (a *archiveFiles) add(h *tar.Header, at int64) error {
	name := path.Clean(h.Name)
	for key := range h.PAXRecords {
		if strings.HasPrefix(key, "GNU.sparse.") {
			return fmt.Errorf("%q is stored with holes", name)
		}
	}
	_, twice := a.places[name]
	if _, link := a.links[name]; (twice || link) && (name == ocispecs.ImageIndexFile || name == dockerIndexFile) {
		return fmt.Errorf("%s is in it twice", name)
	}
	switch h.Typeflag {
	case tar.TypeGNUSparse:
		return fmt.Errorf("%q is stored with holes", name)
	case tar.TypeReg:
		a.places[name] = archivePlace{at, h.Size}
	case tar.TypeSymlink:
		a.links[name] = path.Join(path.Dir(name), h.Linkname)
	case tar.TypeLink:
		a.links[name] = path.Clean(h.Linkname)
	}
	return nil
}

func (a *archiveFiles) open(name string) (layoutFile, error) {
	name = path.Clean(name)
	for range maxArchiveLinks {
		if p, ok := a.places[name]; ok {
			return layoutFile{io.NewSectionReader(a.File, p.at, p.size), p.size, io.NopCloser(nil)}, nil
		}
		to, ok := a.links[name]
		if !ok {
			break
		}
		name = to
	}
	return layoutFile{}, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
}

// compressionOf tells from its first bytes how something is compressed: "gzip", "zstd", or "".
func compressionOf(start []byte) string {
	switch {
	case bytes.HasPrefix(start, []byte{0x1f, 0x8b}):
		return "gzip"
	case bytes.HasPrefix(start, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		return "zstd"
	}
	return ""
}
