package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/containerd/containerd/v2/core/images"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

const (
	// layoutFileText is the file oci-layout.
	layoutFileText = `{"imageLayoutVersion":"1.0.0"}`
	// partSuffix ends the names of files that are not whole yet.
	partSuffix = ".ibuild-part"
	// lockPause is how often a layout is asked for that another process writes into.
	lockPause = 100 * time.Millisecond
)

// layoutIndex is what index.json gets.
type layoutIndex struct{ entries []ocispecs.Descriptor }

// add names an image: once for each name, or once without.
func (x *layoutIndex) add(root ocispecs.Descriptor, names []string) error {
	if len(names) == 0 {
		x.entries = append(x.entries, root)
	}
	for _, n := range names {
		annotations, err := nameAnnotations(n)
		if err != nil {
			return err
		}
		entry := root
		entry.Annotations = annotations
		x.entries = append(x.entries, entry)
	}
	return nil
}

// nameAnnotations are those of an entry with a name: a whole one in the form that containerd and docker read, and its tag for all others.
func nameAnnotations(name string) (map[string]string, error) {
	if !strings.Contains(name, "/") && isTag(name) {
		return map[string]string{ocispecs.AnnotationRefName: name}, nil
	}
	p, err := parseRef(name)
	if err != nil {
		return nil, err
	}
	if p.tag == "" {
		return nil, fmt.Errorf("%s: an image in an archive has a tag for its name, not a digest", name)
	}
	return map[string]string{images.AnnotationImageName: p.text, ocispecs.AnnotationRefName: p.tag}, nil
}

// encode returns index.json, with the entries of the one before that have other names.
func (x *layoutIndex) encode(before []byte) ([]byte, error) {
	index := object{"schemaVersion": json.RawMessage("2"), "mediaType": json.RawMessage(`"` + ocispecs.MediaTypeImageIndex + `"`)}
	var entries []json.RawMessage
	if before != nil {
		var err error
		if index, err = decodeObject(before); err != nil {
			return nil, err
		}
		if entries, err = x.others(index["manifests"]); err != nil {
			return nil, err
		}
	}
	for _, e := range x.entries {
		raw, err := encode(e)
		if err != nil {
			return nil, err
		}
		entries = append(entries, raw)
	}
	if len(entries) > maxArchiveImages {
		return nil, fmt.Errorf("%d images in one layout, more than the limit of %d", len(entries), maxArchiveImages)
	}
	list, err := encode(entries)
	if err != nil {
		return nil, err
	}
	index.set("manifests", list)
	return encode(index)
}

// others are the entries whose names are not given anew.
func (x *layoutIndex) others(list json.RawMessage) (keep []json.RawMessage, err error) {
	var before []json.RawMessage
	if len(list) > 0 {
		if err := json.Unmarshal(list, &before); err != nil {
			return nil, err
		}
	}
	for _, raw := range before {
		desc, err := decodeDescriptor(raw)
		if err != nil {
			return nil, err
		}
		if !slices.ContainsFunc(x.entries, func(e ocispecs.Descriptor) bool { return replaces(e, desc) }) {
			keep = append(keep, raw)
		}
	}
	return keep, nil
}

// replaces says that an entry takes the place of one before: it has its name, or is the same without one.
func replaces(e, before ocispecs.Descriptor) bool {
	name := func(d ocispecs.Descriptor) string {
		if n := d.Annotations[images.AnnotationImageName]; n != "" {
			return n
		}
		return d.Annotations[ocispecs.AnnotationRefName]
	}
	return name(e) == name(before) && (name(e) != "" || e.Digest == before.Digest)
}

// WriteLayout brings an image into an OCI layout in a folder, which is made if it is not there. Blobs that the layout
// has are not read; index.json comes last, so whoever reads the layout meanwhile sees the image whole or not at all.
// A name that the layout gives to another image is this image's then. One process at a time writes into a layout;
// others wait.
func WriteLayout(ctx context.Context, dir string, d Delivery, t *Traffic) error {
	l, err := openLayoutFolder(ctx, dir)
	if err != nil {
		return err
	}
	defer l.close()
	index := &layoutIndex{}
	if err := index.add(d.Root(), d.Names); err != nil {
		return err
	}
	data, err := index.encode(l.before)
	if err != nil {
		return fmt.Errorf("%s: index.json: %w", dir, err)
	}
	blobs := slices.Clone(d.Blobs)
	for _, m := range d.Manifests {
		blobs = append(blobs, m.Blob())
	}
	t.change(func(s *Transferred) {
		for _, b := range blobs {
			s.Total += b.Size
		}
	})
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(parallelUploads)
	for _, b := range blobs {
		group.Go(func() error { return l.put(gctx, b, t) })
	}
	if err := group.Wait(); err != nil {
		return fmt.Errorf("%s: %w", dir, err)
	}
	if err := l.write(ocispecs.ImageLayoutFile, []byte(layoutFileText)); err != nil {
		return err
	}
	return l.write(ocispecs.ImageIndexFile, data)
}

// layoutFolder is a layout that is written, by this process alone.
type layoutFolder struct {
	root   *os.Root
	lock   *os.File
	before []byte // index.json as it was, nil for none
}

func openLayoutFolder(ctx context.Context, dir string) (*layoutFolder, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	l := &layoutFolder{root: root}
	err = l.begin(ctx, dir)
	if err != nil {
		l.close()
		return nil, err
	}
	return l, nil
}

// begin takes the lock, looks at what is there, and removes what a killed process left.
func (l *layoutFolder) begin(ctx context.Context, dir string) (err error) {
	if l.lock, err = l.root.Open("."); err != nil {
		return err
	}
	if err := lockFile(ctx, l.lock); err != nil {
		return fmt.Errorf("%s: %w", dir, err)
	}
	f, err := folderFiles{l.root}.open(ocispecs.ImageIndexFile)
	switch {
	case err == nil:
		defer f.closer.Close()
		l.before = make([]byte, min(f.size, maxArchiveIndex+1))
		if _, err := io.ReadFull(io.NewSectionReader(f, 0, f.size), l.before); err != nil {
			return err
		}
		if f.size > maxArchiveIndex {
			return &LayoutError{dir, "index.json is too large"}
		}
	case errors.Is(err, fs.ErrNotExist):
		if other, err := l.foreign(); err != nil || other != "" {
			return errors.Join(err, &LayoutError{dir, fmt.Sprintf("no OCI layout: it has %q and no index.json; name a folder that is new or empty", other)})
		}
	default:
		return err
	}
	return l.sweep()
}

// foreign is a file that no layout has, in a folder without index.json. What an interrupted copy left is none.
func (l *layoutFolder) foreign() (string, error) {
	list, err := l.lock.ReadDir(-1)
	for _, e := range list {
		if name := strings.TrimSuffix(e.Name(), partSuffix); name != ocispecs.ImageBlobsDir && name != ocispecs.ImageLayoutFile && name != ocispecs.ImageIndexFile {
			return e.Name(), err
		}
	}
	return "", err
}

// sweep removes files that are not whole: nobody else is writing.
func (l *layoutFolder) sweep() error {
	var left []string
	err := fs.WalkDir(l.root.FS(), ocispecs.ImageBlobsDir, func(name string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() && strings.HasSuffix(name, partSuffix) {
			left = append(left, name)
		}
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, name := range left {
		if err := l.root.Remove(name); err != nil {
			return err
		}
	}
	return nil
}

// put brings a blob into the layout unless it is there.
func (l *layoutFolder) put(ctx context.Context, b Blob, t *Traffic) error {
	if err := b.Digest.Validate(); err != nil {
		return err
	}
	name := blobPath(b.Digest)
	if info, err := l.root.Lstat(name); err == nil && info.Mode().IsRegular() && info.Size() == b.Size {
		t.change(func(s *Transferred) { s.There.add(b.Size); s.Settled += b.Size })
		return nil
	}
	rc, err := b.Open(0)
	if err != nil {
		return err
	}
	defer rc.Close()
	return l.create(name, func(w io.Writer) error { return copyBlob(ctx, w, rc, b.Descriptor, t) })
}

// write writes a small file, whole or not at all.
func (l *layoutFolder) write(name string, data []byte) error {
	return l.create(name, func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	})
}

func (l *layoutFolder) create(name string, fill func(io.Writer) error) error {
	if at := strings.LastIndexByte(name, '/'); at > 0 {
		if err := l.root.MkdirAll(name[:at], 0o755); err != nil {
			return err
		}
	}
	part := name + partSuffix
	f, err := l.root.OpenFile(part, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	err = errors.Join(fill(f), f.Close())
	if err == nil {
		err = l.root.Rename(part, name)
	}
	if err != nil {
		_ = l.root.Remove(part)
	}
	return err
}

func (l *layoutFolder) close() {
	if l.lock != nil {
		_ = l.lock.Close() // and the lock with it
	}
	_ = l.root.Close()
}

// lockFile waits for the lock of a file. A file system without locks is written to without.
func lockFile(ctx context.Context, f *os.File) error {
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		switch {
		case err == nil || errors.Is(err, unix.ENOTSUP) || errors.Is(err, unix.ENOLCK) || errors.Is(err, unix.ENOSYS):
			return nil
		case !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR):
			return err
		}
		if err := sleep(ctx, lockPause); err != nil {
			return err
		}
	}
}
