package results

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"

	"github.com/ibuild/ibuild/registry/codec"
	"github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

// layer is what became of entries.
type layer struct {
	ocispecs.Descriptor
	files int
	bytes int64 // of the files
}

// header of an entry whose content has this size.
func (e entry) header(size int64) *tar.Header {
	h := &tar.Header{Name: e.path, Mode: int64(e.mode.Perm()), ModTime: e.time.Truncate(time.Second), Typeflag: tar.TypeReg, Size: size}
	switch e.mode.Type() {
	case fs.ModeDir:
		h.Typeflag, h.Name = tar.TypeDir, e.path+"/"
	case fs.ModeSymlink:
		h.Typeflag, h.Linkname = tar.TypeSymlink, e.link
	}
	return h
}

// pack writes entries into memory. Those that cannot be read are left out.
func (c *collection) pack(ctx context.Context, way codec.Codec, entries []entry) (layer, []byte, error) {
	var out bytes.Buffer
	compressed, err := way.NewWriter(&out)
	if err != nil {
		return layer{}, nil, err
	}
	tw := tar.NewWriter(compressed)
	l := layer{}
	for _, e := range entries {
		if err := ctx.Err(); err != nil {
			return layer{}, nil, errors.Join(err, compressed.Close())
		}
		data, err := c.content(e)
		if err != nil {
			c.leave(e.path, err)
			continue
		}
		if err := tw.WriteHeader(e.header(int64(len(data)))); err != nil {
			return layer{}, nil, errors.Join(fmt.Errorf("%q: %w", e.path, err), compressed.Close())
		}
		if _, err := tw.Write(data); err != nil {
			return layer{}, nil, errors.Join(fmt.Errorf("%q: %w", e.path, err), compressed.Close())
		}
		if e.mode.IsRegular() {
			l.files++
			l.bytes += int64(len(data))
		}
	}
	if err := errors.Join(tw.Close(), compressed.Close()); err != nil {
		return layer{}, nil, err
	}
	l.Descriptor = ocispecs.Descriptor{MediaType: way.MediaType(), Digest: digest.FromBytes(out.Bytes()), Size: int64(out.Len())}
	return l, out.Bytes(), nil
}

// content is what is in a small file; nil for what is no file.
func (c *collection) content(e entry) ([]byte, error) {
	if !e.mode.IsRegular() {
		return nil, nil
	}
	file, size, err := c.openFile(e)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if size > small {
		return nil, errChanged
	}
	data := make([]byte, size)
	n, err := io.ReadFull(file, data)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = nil // it has become smaller: what is there is there
	}
	return data[:n], err
}

// measure reads a large file and says what its layer is.
func (c *collection) measure(ctx context.Context, way codec.Codec, e *entry) (layer, error) {
	file, size, err := c.openFile(*e)
	if err != nil {
		return layer{}, err
	}
	defer file.Close()
	e.size = size
	sum := digest.Canonical.Digester()
	count := &counter{}
	if err := writeLarge(ctx, way, *e, file, io.MultiWriter(sum.Hash(), count)); err != nil {
		return layer{}, err
	}
	desc := ocispecs.Descriptor{MediaType: way.MediaType(), Digest: sum.Digest(), Size: count.n}
	return layer{desc, 1, size}, nil
}

// open returns the bytes of a large file's layer, which are made while they are read.
func (c *collection) openLayer(ctx context.Context, way codec.Codec, e entry, offset int64) (io.ReadCloser, error) {
	file, _, err := c.openFile(e)
	if err != nil {
		return nil, err
	}
	r, w := io.Pipe()
	go func() {
		defer file.Close()
		w.CloseWithError(writeLarge(ctx, way, e, file, w))
	}()
	if _, err := io.CopyN(io.Discard, r, offset); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

// writeLarge writes a file as a layer. It has the size that the entry says, or the error is errChanged.
func writeLarge(ctx context.Context, way codec.Codec, e entry, file io.Reader, to io.Writer) error {
	compressed, err := way.NewWriter(to)
	if err != nil {
		return err
	}
	tw := tar.NewWriter(compressed)
	err = tw.WriteHeader(e.header(e.size))
	if err == nil {
		err = copyAll(ctx, tw, file, e.size)
	}
	if err != nil {
		return errors.Join(err, compressed.Close())
	}
	return errors.Join(tw.Close(), compressed.Close())
}

// copyAll copies n bytes, unless the context ends.
func copyAll(ctx context.Context, to io.Writer, from io.Reader, n int64) error {
	buf := make([]byte, min(n, 1<<20))
	for n > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		m, err := io.ReadFull(from, buf[:min(n, int64(len(buf)))])
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return errChanged
		}
		if err != nil {
			return err
		}
		if _, err := to.Write(buf[:m]); err != nil {
			return err
		}
		n -= int64(m)
	}
	return nil
}

type counter struct{ n int64 }

func (c *counter) Write(p []byte) (int, error) {
	c.n += int64(len(p))
	return len(p), nil
}
