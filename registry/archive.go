package registry

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/images/archive"
	"github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

// ArchiveFormat is a way to write an image into one file.
type ArchiveFormat string

// The formats of archives.
const (
	// ArchiveOCI is a tar archive of an OCI image layout.
	ArchiveOCI ArchiveFormat = "oci"
	// ArchiveDocker is what docker save writes and docker load reads. It has one
	// image for one platform.
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

// WriteArchive writes an image from a content store: the same bytes for the same
// image and names. Blobs are verified as they are written. On an error, what was
// written is no archive, and for the caller to remove.
func WriteArchive(ctx context.Context, w io.Writer, store content.InfoReaderProvider, a Archive) error {
	names := make([]string, len(a.Names))
	for i, n := range a.Names {
		p, err := parseRef(n)
		if err != nil {
			return err
		}
		if p.tag == "" {
			return fmt.Errorf("%s: an image in an archive has a tag for its name, not a digest", n)
		}
		names[i] = p.text
	}
	// The exporter leaves out, without an error, a root that is not there.
	doc, err := readRoot(ctx, store, a.Root)
	if err != nil {
		return fmt.Errorf("archive: %w", err)
	}
	var opts []archive.ExportOpt
	root := a.Root
	switch a.Format {
	case ArchiveOCI:
		opts = append(opts, archive.WithAllPlatforms(), archive.WithSkipDockerManifest())
	case ArchiveDocker:
		if root, err = singleImage(root, doc); err != nil {
			return err
		}
	default:
		return fmt.Errorf("unknown archive format %q", a.Format)
	}
	root = ocispecs.Descriptor{MediaType: root.MediaType, Digest: root.Digest, Size: root.Size, Annotations: root.Annotations}
	opts = append(opts, archive.WithManifest(root, names...))

	out := &stickyWriter{w: w}
	if err := archive.Export(ctx, unlabelled{store}, out, opts...); err != nil {
		return fmt.Errorf("archive: %w", err)
	}
	if out.err != nil {
		return fmt.Errorf("archive: %w", out.err)
	}
	return nil
}

// readRoot reads the image manifest or index that is to be archived.
func readRoot(ctx context.Context, store content.Provider, root ocispecs.Descriptor) (document, error) {
	lim := defaultLimits()
	if root.Size > lim.manifest {
		return document{}, badAnswer("a manifest of %d bytes, more than the limit of %d", root.Size, lim.manifest)
	}
	data, err := content.ReadBlob(ctx, store, root)
	if err != nil {
		return document{}, err
	}
	return decodeDocument(data, lim)
}

// singleImage returns the one image behind root.
func singleImage(root ocispecs.Descriptor, doc document) (ocispecs.Descriptor, error) {
	if doc.image != nil {
		return root, nil
	}
	var found []ocispecs.Descriptor
	for _, e := range doc.index {
		if IsManifest(e.MediaType) && (e.Platform == nil || !isAttestation(&e)) {
			found = append(found, e)
		}
	}
	if len(found) != 1 {
		return root, errors.New("a docker archive has room for one platform: choose one with --platform, or write type=oci")
	}
	return found[0], nil
}

// unlabelled hides the labels of a store's blobs: the exporter would copy those
// that say where a blob was pulled from into the archive.
type unlabelled struct{ content.InfoReaderProvider }

// Info is the store's, without labels.
func (u unlabelled) Info(ctx context.Context, d digest.Digest) (content.Info, error) {
	info, err := u.InfoReaderProvider.Info(ctx, d)
	info.Labels = nil
	return info, err
}

// stickyWriter remembers a failed write: the exporter does not look at the error
// of writing the archive's end.
type stickyWriter struct {
	w   io.Writer
	err error
}

func (s *stickyWriter) Write(p []byte) (int, error) {
	n, err := s.w.Write(p)
	if err != nil && s.err == nil {
		s.err = err
	}
	return n, err
}
