package registry

import (
	"archive/tar"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

// ArchiveFormat is a way to write images into one file.
type ArchiveFormat string

// The formats of archives.
const (
	// ArchiveOCI is a tar archive of an OCI image layout.
	ArchiveOCI ArchiveFormat = "oci"
	// ArchiveDocker is what docker save writes and docker load reads. Its images
	// are for one platform each.
	ArchiveDocker ArchiveFormat = "docker"
)

// Archive says what to write.
type Archive struct {
	Format ArchiveFormat
	// Root is an image manifest or an index. All that it names is in the store.
	Root ocispecs.Descriptor
	// Names are the references that the image gets, such as team/app:1.0.
	Names []string
}

// WriteArchive writes an image from a content store, see [WriteImages].
func WriteArchive(ctx context.Context, w io.Writer, store content.Provider, a Archive) error {
	parcel, err := Pack(ctx, FromStore(store, a.Root), nil)
	if err != nil {
		return fmt.Errorf("archive: %w", err)
	}
	return WriteImages(ctx, w, a.Format, []Delivery{{Parcel: parcel, Names: a.Names}}, nil)
}

// Delivery is an image with the names that it gets in an archive or layout.
type Delivery struct {
	*Parcel
	// Names are references, such as team/app:1.0, or tags of one word that a layout alone understands.
	Names []string
}

// WriteImages writes images into one archive: the same bytes for the same images and names. Blobs are verified as they
// are written, one after the other, and a blob of several images is there once. On an error, what was written is no
// archive, and for the caller to remove.
func WriteImages(ctx context.Context, w io.Writer, format ArchiveFormat, list []Delivery, t *Traffic) error {
	a := &archiveWriter{tar: tar.NewWriter(w), blobs: map[digest.Digest]Blob{}, traffic: t}
	for _, d := range list {
		if err := a.add(format, d); err != nil {
			return err
		}
	}
	if err := a.write(ctx, format); err != nil {
		return fmt.Errorf("archive: %w", err)
	}
	return nil
}

// ArchiveError says that an image does not go into an archive of some format.
type ArchiveError struct {
	Msg  string
	Hint string // what to do, in one line
}

// Error has the hint in it, for those who show no hints.
func (e *ArchiveError) Error() string { return e.Msg + ": " + e.Hint }

// archiveWriter collects what goes into an archive, and writes it.
type archiveWriter struct {
	tar     *tar.Writer
	blobs   map[digest.Digest]Blob
	index   layoutIndex
	docker  []dockerImage
	traffic *Traffic
}

func (a *archiveWriter) add(format ArchiveFormat, d Delivery) error {
	switch format {
	case ArchiveOCI:
		for _, b := range d.Blobs {
			a.blobs[b.Digest] = b
		}
		for _, m := range d.Manifests {
			a.blobs[m.Digest] = m.Blob()
		}
		return a.index.add(d.Root(), d.Names)
	case ArchiveDocker:
		return a.addDocker(d)
	}
	return fmt.Errorf("unknown archive format %q", format)
}

// addDocker adds the one image of a delivery, in the form that docker has read since its version 1.10. What newer ones
// and other programs read is beside it.
func (a *archiveWriter) addDocker(d Delivery) error {
	switch {
	case len(d.images) != 1:
		return &ArchiveError{fmt.Sprintf("a docker archive has room for one platform, and this image has %d", len(d.images)),
			"choose one with --platform, or write an OCI archive"}
	case len(d.Elsewhere) > 0:
		return &ArchiveError{"a docker archive has all layers in it, and this image has some that are no registry's to keep", "write an OCI archive"}
	}
	img := d.images[0]
	entry := dockerImage{Config: blobPath(img.manifest.Config.Digest), RepoTags: []string{}, Layers: []string{}}
	for _, n := range d.Names {
		named, err := reference.ParseNormalizedNamed(n)
		if err != nil {
			return fmt.Errorf("%s: %w", n, err)
		}
		entry.RepoTags = append(entry.RepoTags, reference.FamiliarString(reference.TagNameOnly(named)))
	}
	needed := map[digest.Digest]bool{img.manifest.Config.Digest: true}
	for _, l := range img.manifest.Layers {
		needed[l.Digest] = true
		entry.Layers = append(entry.Layers, blobPath(l.Digest))
	}
	for _, b := range d.Blobs {
		if needed[b.Digest] {
			a.blobs[b.Digest] = b
		}
	}
	a.blobs[img.Digest] = img.Blob()
	a.docker = append(a.docker, entry)
	return a.index.add(img.Descriptor, d.Names)
}

// write writes everything in the order of names.
func (a *archiveWriter) write(ctx context.Context, format ArchiveFormat) error {
	a.traffic.change(func(s *Transferred) {
		for _, b := range a.blobs {
			s.Total += b.Size
		}
	})
	folders := map[string]bool{ocispecs.ImageBlobsDir: true}
	for d := range a.blobs {
		folders[ocispecs.ImageBlobsDir+"/"+d.Algorithm().String()] = true
	}
	for _, name := range slices.Sorted(maps.Keys(folders)) {
		if err := a.tar.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: name + "/", Mode: 0o755}); err != nil {
			return err
		}
	}
	if err := a.writeBlobs(ctx); err != nil {
		return err
	}
	index, err := a.index.encode(nil)
	if err != nil {
		return err
	}
	if err := a.writeFile(ocispecs.ImageIndexFile, index); err != nil {
		return err
	}
	if format == ArchiveDocker {
		list, err := encode(a.docker)
		if err != nil {
			return err
		}
		if err := a.writeFile(dockerIndexFile, list); err != nil {
			return err
		}
	}
	if err := a.writeFile(ocispecs.ImageLayoutFile, []byte(layoutFileText)); err != nil {
		return err
	}
	return a.tar.Close()
}

func (a *archiveWriter) writeFile(name string, data []byte) error {
	if err := a.tar.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: int64(len(data))}); err != nil {
		return err
	}
	_, err := a.tar.Write(data)
	return err
}

// openAhead is how many blobs are opened before they are written: whoever waits for one layer need not wait for the
// answer about the next one.
const openAhead = 3

// openedBlob is a blob, or why it could not be opened.
type openedBlob struct {
	desc ocispecs.Descriptor
	rc   io.ReadCloser
	err  error
}

// writeBlobs writes all blobs in the order of their digests.
func (a *archiveWriter) writeBlobs(ctx context.Context) (err error) {
	ctx, cancel := context.WithCancel(ctx)
	queue := make(chan openedBlob, openAhead)
	go a.openBlobs(ctx, queue)
	defer func() {
		cancel()
		for b := range queue { // what was opened in vain
			if b.err == nil {
				_ = b.rc.Close()
			}
		}
	}()
	for b := range queue {
		if b.err != nil {
			return b.err
		}
		if err := a.writeBlob(ctx, b); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// openBlobs opens one blob after the other until the context is done.
func (a *archiveWriter) openBlobs(ctx context.Context, queue chan<- openedBlob) {
	defer close(queue)
	for _, d := range slices.Sorted(maps.Keys(a.blobs)) {
		b := openedBlob{desc: a.blobs[d].Descriptor}
		b.rc, b.err = a.blobs[d].Open(0)
		select {
		case queue <- b:
		case <-ctx.Done():
			if b.err == nil {
				_ = b.rc.Close()
			}
			return
		}
	}
}

func (a *archiveWriter) writeBlob(ctx context.Context, b openedBlob) error {
	defer b.rc.Close()
	if err := a.tar.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: blobPath(b.desc.Digest), Mode: 0o444, Size: b.desc.Size}); err != nil {
		return err
	}
	return copyBlob(ctx, a.tar, b.rc, b.desc, a.traffic)
}

// copyBlob copies a blob, and counts it. The reader of a source checks what it delivers.
func copyBlob(ctx context.Context, w io.Writer, rc io.ReadCloser, desc ocispecs.Descriptor, t *Traffic) error {
	settled := &settling{w: w, traffic: t}
	n, err := io.CopyBuffer(settled, struct{ io.Reader }{&contextReader{ctx, rc}}, make([]byte, 256<<10))
	if err == nil && n != desc.Size {
		err = badAnswer("blob %s has only %d of its %d bytes", desc.Digest, n, desc.Size)
	}
	if err == nil {
		t.change(func(s *Transferred) { s.Moved.add(desc.Size) })
	}
	return err
}

// settling counts what arrives.
type settling struct {
	w       io.Writer
	traffic *Traffic
}

func (s *settling) Write(p []byte) (int, error) {
	n, err := s.w.Write(p)
	s.traffic.change(func(t *Transferred) { t.Settled += int64(n) })
	return n, err
}

// blobPath is where a layout has a blob.
func blobPath(d digest.Digest) string {
	return ocispecs.ImageBlobsDir + "/" + d.Algorithm().String() + "/" + d.Encoded()
}
