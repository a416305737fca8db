package anatomy

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"
)

// Bounds of one layer. A layer beyond them is not compared, and that is said.
const (
	maxLayerFiles = 500_000
	maxLayerSize  = 200 << 30 // bytes, unpacked: they are read, not kept
	maxWindow     = 128 << 20 // bytes of memory that zstd may ask for
	maxNames      = 512 << 20 // bytes of paths, links and attributes, which are kept
)

// entry is one file of a layer.
type entry struct {
	kind     byte // tar's
	mode     fs.FileMode
	uid, gid int
	size     int64
	time     time.Time
	link     string
	xattrs   string // sorted
	sum      [sha256.Size]byte
}

// errTooMuch says that a layer is beyond the bounds.
var errTooMuch = errors.New("too large to be compared")

// readTree reads a layer, compressed or not, into a map by path. The same path twice is the later one.
func readTree(ctx context.Context, r io.Reader) (map[string]entry, error) {
	plain, closer, err := unpacked(r)
	if err != nil {
		return nil, err
	}
	defer closer()
	tr := tar.NewReader(&bounded{ctx: ctx, r: plain, left: maxLayerSize})
	tree := map[string]entry{}
	names := 0
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			_, err = io.Copy(io.Discard, r) // to its end, where its digest is checked
			return tree, err
		}
		if err != nil {
			return nil, err
		}
		if len(tree) == maxLayerFiles {
			return nil, fmt.Errorf("%w: more than %d files", errTooMuch, maxLayerFiles)
		}
		e := entry{kind: h.Typeflag, mode: fs.FileMode(h.Mode) & 0o7777, uid: h.Uid, gid: h.Gid, size: h.Size, time: h.ModTime, link: h.Linkname, xattrs: xattrs(h)}
		if names += len(h.Name) + len(e.link) + len(e.xattrs); names > maxNames {
			return nil, fmt.Errorf("%w: the names and attributes of its files have more than %d bytes", errTooMuch, maxNames)
		}
		if h.Typeflag == tar.TypeReg {
			sum := sha256.New()
			if _, err := io.Copy(sum, tr); err != nil {
				return nil, err
			}
			e.sum = [sha256.Size]byte(sum.Sum(nil))
		}
		tree[path.Clean("/" + h.Name)[1:]] = e
	}
}

func xattrs(h *tar.Header) string {
	var list []string
	for _, k := range slices.Sorted(maps.Keys(h.PAXRecords)) {
		if strings.HasPrefix(k, "SCHILY.xattr.") {
			list = append(list, k+"="+h.PAXRecords[k])
		}
	}
	return strings.Join(list, "\x00")
}

// unpacked finds out how a layer is compressed by its first bytes.
func unpacked(r io.Reader) (plain io.Reader, closer func(), err error) {
	b := bufio.NewReaderSize(r, 64<<10)
	head, _ := b.Peek(4) // what is shorter is no archive, and the reader says so
	switch {
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		z, err := gzip.NewReader(b)
		return z, func() {}, err
	case bytes.Equal(head, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		z, err := zstd.NewReader(b, zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderConcurrency(1))
		if err != nil {
			return nil, nil, err
		}
		return z, z.Close, nil
	}
	return b, func() {}, nil
}

// bounded ends with an error after so many bytes, and with the context.
type bounded struct {
	ctx  context.Context
	r    io.Reader
	left int64
}

func (b *bounded) Read(p []byte) (int, error) {
	if err := b.ctx.Err(); err != nil {
		return 0, err
	}
	if b.left <= 0 {
		return 0, errTooMuch
	}
	n, err := b.r.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}
