package llb

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
	"io/fs"
	"iter"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"
)

const (
	// chunkSize is how many files are looked at as one piece of work.
	chunkSize = 128
	// readSize is the size of a buffer for reading files, in bytes.
	readSize = 128 << 10
)

// LocalFile is one file, folder or link that a local source can see.
type LocalFile struct {
	Path     string        // slash-separated, from the folder's root
	Mode     fs.FileMode   // as builders get it
	Linkname string        // target of a symbolic link; of a second name of one file, the first
	Size     int64         // in bytes; 0 for what has no content
	Digest   digest.Digest // of the content; "" for what has none
	Xattrs   digest.Digest // of the extended attributes that become part of images; "" for none
}

// listing is what a builder can see of a local source, in the order of paths.
type listing struct {
	files []LocalFile
	// digest covers names, kinds, modes, link targets, extended attributes and contents; times and owners are
	// left out, because the session that sends them resets owners and builders ignore times.
	digest digest.Digest
	// stamp covers what can be seen of the files without reading them; it changes when somebody writes to them.
	stamp digest.Digest
}

// list looks at all that a builder can see, once in a build, and then reads what it does not know yet.
func (s *localSource) list(ctx context.Context) (*listing, error) {
	if s.local.Files != nil {
		return s.listMemory(ctx)
	}
	sums, view := s.local.withSums().sums, s.view()
	if l := sums.listed(view); l != nil {
		return l, nil
	}
	l, err := s.listDisk(ctx, sums)
	if err == nil {
		sums.list(view, l)
	}
	return l, err
}

func (s *localSource) listDisk(ctx context.Context, sums *sums) (*listing, error) {
	files, d, err := s.look(ctx, sums)
	if err != nil {
		return nil, err
	}
	s.linkNames(files)
	if err := read(ctx, d, files, sums); err != nil {
		return nil, s.readError(err)
	}
	l := &listing{stamp: stampOf(files), files: make([]LocalFile, 0, len(files)*chunkSize)}
	h := fieldHash{Hash: sha256.New()}
	for f := range files.all() {
		l.files = append(l.files, s.field(&h, f))
	}
	l.digest = h.digest()
	return l, nil
}

// stamp walks the source again, as list does, and reads no file.
func (s *localSource) stamp(ctx context.Context) (digest.Digest, error) {
	if s.local.Files != nil {
		l, err := s.listMemory(ctx)
		if err != nil {
			return "", err
		}
		return l.stamp, nil
	}
	files, _, err := s.look(ctx, nil)
	return stampOf(files), err
}

func (s *localSource) readError(err error) error { return fmt.Errorf("read %s: %w", s.local.Dir, err) }

// seenFile is a file on its way into a listing.
type seenFile struct {
	diskFile
	sum   fileSum
	known bool // sum is the file's
}

// seenFiles are files in the order of the walk, in pieces as they were looked at.
type seenFiles [][]seenFile

// all are those that were there still.
func (s seenFiles) all() iter.Seq[*seenFile] {
	return func(yield func(*seenFile) bool) {
		for _, chunk := range s {
			for i := range chunk {
				if f := &chunk[i]; !f.gone && !yield(f) {
					return
				}
			}
		}
	}
}

// look lists the files and looks at them, on all cores. What vanishes meanwhile is left out. With sums it also
// finds out what can be had without reading a file.
func (s *localSource) look(ctx context.Context, sums *sums) (seenFiles, disk, error) {
	d, err := newDisk(s.local.Dir)
	if err != nil {
		return nil, d, err
	}
	files, err := s.filter(namesFS{d})
	if err != nil {
		return nil, d, err
	}
	eg, inner := errgroup.WithContext(ctx)
	eg.SetLimit(runtime.GOMAXPROCS(0))
	var chunks seenFiles
	add := func(chunk []seenFile) {
		chunks = append(chunks, chunk)
		eg.Go(func() error { return lookAt(inner, d, chunk, sums) })
	}
	var chunk []seenFile
	err = files.Walk(inner, "", func(p string, e fs.DirEntry, err error) error {
		switch {
		case vanished(err):
			return fs.SkipDir
		case err != nil:
			return err
		}
		if chunk = append(chunk, seenFile{diskFile: diskFile{path: p, mode: e.Type()}}); len(chunk) == chunkSize {
			add(chunk)
			chunk = make([]seenFile, 0, chunkSize)
		}
		return nil
	})
	add(chunk)
	if werr := eg.Wait(); werr != nil {
		err = werr // the walk was cancelled by it
	}
	if err != nil {
		return nil, d, s.readError(err)
	}
	return chunks, d, nil
}

// lookAt fills what is known of files by their names alone.
func lookAt(ctx context.Context, d disk, chunk []seenFile, sums *sums) error {
	v, err := d.visit()
	if err != nil {
		return err
	}
	defer v.close()
	next := 0
	for i := range chunk {
		if err := ctx.Err(); err != nil {
			return err
		}
		f := &chunk[i]
		kind := f.mode
		if f.diskFile, err = v.lstat(f.path); err == nil && sums != nil {
			next, err = sums.lookUp(d, f, next)
		}
		switch {
		case vanished(err):
			f.gone = true
		case err != nil:
			return err
		case f.mode.Type() != kind&^fs.ModeSocket:
			return fmt.Errorf("%s changed while it was read", f.path)
		}
	}
	return nil
}

// lookUp finds out what can be had without reading the file: its digest, when it is known, and its attributes. near
// and next are as in [sums.known].
func (s *sums) lookUp(d disk, f *seenFile, near int) (next int, err error) {
	next = near
	if f.mode.IsRegular() {
		f.sum, f.known, next = s.known(f.path, f.key, near)
	}
	if !f.known || !f.sum.bare {
		f.xattrs, err = d.readXattrs(f.path)
	}
	return next, err
}

// linkNames finds the files that have been seen under another name, unless they are shown as files of their own.
func (s *localSource) linkNames(files seenFiles) {
	if s.local.PlainModes {
		return
	}
	links := hardLinks{}
	for f := range files.all() {
		if first := links.first(&f.diskFile); first != "" {
			f.link = first
		}
	}
}

// read reads the files whose digests are not known, on all cores.
func read(ctx context.Context, d disk, files seenFiles, sums *sums) error {
	var unread []*seenFile
	for f := range files.all() {
		if f.content() && !f.known {
			unread = append(unread, f)
		}
	}
	eg, ctx := errgroup.WithContext(ctx)
	var next atomic.Int64
	for range min(runtime.GOMAXPROCS(0), len(unread)) {
		eg.Go(func() error {
			v, err := d.visit()
			if err != nil {
				return err
			}
			defer v.close()
			buf := make([]byte, readSize)
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= len(unread) {
					return nil
				}
				if unread[i].sum, err = sums.read(v, &unread[i].diskFile, buf); err != nil {
					return err
				}
			}
			return ctx.Err()
		})
	}
	return eg.Wait()
}

// content says that the file has a content of its own.
func (f *diskFile) content() bool { return f.mode.IsRegular() && f.link == "" }

// field puts a file into the digest and returns what is listed of it.
func (s *localSource) field(h *fieldHash, f *seenFile) LocalFile {
	mode := uint32(f.mode)
	if s.local.PlainModes {
		mode = plainMode(f.mode)
	}
	l := LocalFile{Path: filepath.ToSlash(f.path), Mode: fs.FileMode(mode), Linkname: f.link}
	h.text(l.Path)
	h.mode(mode)
	h.text(f.link)
	h.xattrs(f.xattrs)
	if f.content() {
		l.Size, l.Digest = f.key.size, f.sum.encoded()
		h.text(string(l.Digest))
	}
	l.Xattrs = digestOfXattrs(f.xattrs)
	return l
}

func stampOf(files seenFiles) digest.Digest {
	h := fieldHash{Hash: sha256.New()}
	for f := range files.all() {
		target := ""
		if f.mode&fs.ModeSymlink != 0 {
			target = f.link
		}
		h.text(f.path)
		h.text(target)
		for _, n := range []uint64{uint64(f.mode), f.key.dev, f.key.ino, uint64(f.key.size), uint64(f.key.mtime), uint64(f.key.ctime)} {
			h.number(n)
		}
	}
	return h.digest()
}

// countedXattrs are the names of a file's extended attributes that become part of images, sorted: those that
// BuildKit's content hash counts. The others belong to the machine (SELinux labels, ACLs).
func countedXattrs(attrs map[string][]byte) []string {
	var list []string
	for k := range attrs {
		if k == "security.capability" || !strings.HasPrefix(k, "security.") && !strings.HasPrefix(k, "system.") {
			list = append(list, k)
		}
	}
	slices.Sort(list)
	return list
}

func digestOfXattrs(attrs map[string][]byte) digest.Digest {
	if len(countedXattrs(attrs)) == 0 {
		return ""
	}
	h := fieldHash{Hash: sha256.New()}
	h.xattrs(attrs)
	return h.digest()
}

// fieldHash is a digest of fields. Each has its length before it, so that no two lists of fields have the same
// bytes. It collects small fields, because a hash takes large pieces faster.
type fieldHash struct {
	hash.Hash
	buf []byte
}

func (h *fieldHash) number(n uint64) { h.buf = binary.BigEndian.AppendUint64(h.buf, n) }

func (h *fieldHash) text(s string) {
	h.number(uint64(len(s)))
	if h.buf = append(h.buf, s...); len(h.buf) > 16<<10 {
		h.flush()
	}
}

func (h *fieldHash) mode(m uint32) {
	var octal [11]byte
	h.text(string(strconv.AppendUint(octal[:0], uint64(m), 8)))
}

func (h *fieldHash) xattrs(attrs map[string][]byte) {
	names := countedXattrs(attrs)
	h.text(strconv.Itoa(len(names)))
	for _, k := range names {
		h.text(k)
		h.text(string(attrs[k]))
	}
}

func (h *fieldHash) flush() {
	h.Write(h.buf)
	h.buf = h.buf[:0]
}

func (h *fieldHash) digest() digest.Digest {
	h.flush()
	return digest.NewDigest(digest.SHA256, h.Hash)
}
