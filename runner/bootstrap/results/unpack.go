package results

import (
	"archive/tar"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/ibuild/ibuild/registry"
	"github.com/klauspost/compress/zstd"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

// maxWindow is the memory in bytes that a layer may want for being decompressed. Ours want 4 MiB.
const maxWindow = 16 << 20

// unpacker unpacks layers below a folder that is empty at first. It trusts nothing of what it reads.
type unpacker struct {
	root  *os.Root
	files int   // that may come
	bytes int64 // that may come
	came  func(bytes int)
	plain int64 // bytes of the archives that may come, with all that is around the files

	entries int
	folders []entry  // in the order in which they came
	others  []string // files and links
	links   []entry  // made when all else is there: nothing is written through them
}

// layer unpacks one layer of a repository.
func (u *unpacker) layer(ctx context.Context, client *registry.Client, repo string, desc ocispecs.Descriptor) error {
	blob, err := client.OpenBlob(ctx, repo, desc)
	if err != nil {
		return err
	}
	defer blob.Close()
	source := &remembering{Reader: blob, came: u.came}
	err = u.unpack(ctx, source)
	if source.err != nil {
		return source.err // and not what the reader of the archive makes of it
	}
	if err != nil {
		return err
	}
	// What comes after the archive's end is read, too: only then is the digest checked.
	if n, err := io.Copy(io.Discard, io.LimitReader(source, maxWindow)); err != nil || n == maxWindow {
		return errors.Join(err, source.err, badTail(n))
	}
	return nil
}

func badTail(n int64) error {
	if n == maxWindow {
		return badContent("a layer goes on after its end")
	}
	return nil
}

// remembering keeps the error of a reader, and tells what comes.
type remembering struct {
	io.Reader
	came func(bytes int)
	err  error
}

func (r *remembering) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	r.came(n)
	if err != nil && err != io.EOF {
		r.err = err
	}
	return n, err
}

// unpack unpacks one compressed archive.
func (u *unpacker) unpack(ctx context.Context, from io.Reader) error {
	plain, err := zstd.NewReader(from, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderLowmem(true))
	if err != nil {
		return err
	}
	defer plain.Close()
	tr := tar.NewReader(&bounded{plain, &u.plain})
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		h, err := tr.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return badContent("a layer that cannot be read: %w", err)
		}
		if err := u.entry(ctx, h, tr); err != nil {
			return err
		}
	}
}

// maxAround is how many bytes of the archives may not be content of files: headers, and what fills blocks up. 200,000
// entries with long names have about half of it.
const maxAround = 1 << 30

// bounded reads as long as something is left of a number of bytes.
type bounded struct {
	io.Reader
	left *int64
}

func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if *b.left -= int64(n); *b.left < 0 {
		return 0, errors.New("it is far larger than the files that the manifest tells of")
	}
	return n, err
}

// entry takes one entry over.
func (u *unpacker) entry(ctx context.Context, h *tar.Header, content io.Reader) error {
	e := entry{path: strings.TrimSuffix(h.Name, "/"), mode: fs.FileMode(h.Mode) & fs.ModePerm, time: h.ModTime, link: h.Linkname, size: h.Size}
	if err := checkName(e.path); err != nil {
		return badContent("%w", err)
	}
	if first, _, _ := strings.Cut(e.path, "/"); strings.HasPrefix(first, Unfinished) {
		return nil // of a fetch that was killed, and then a part of other results
	}
	if u.entries++; u.entries > maxEntries {
		return badContent("more than %d entries", maxEntries)
	}
	switch h.Typeflag {
	case tar.TypeDir:
		e.mode |= fs.ModeDir
		u.folders = append(u.folders, e)
		return u.onlyOnce(e.path, u.root.MkdirAll(e.path, 0o700))
	case tar.TypeSymlink:
		if err := checkLink(e.path, e.link); err != nil {
			return badContent("%q is %w", e.path, err)
		}
		u.links, u.others = append(u.links, e), append(u.others, e.path)
		return nil
	case tar.TypeReg:
		return u.file(ctx, e, content)
	}
	return badContent("%q is neither a file, a folder nor a symbolic link", e.path)
}

// onlyOnce turns the error of a path that is there already into one of the content.
func (u *unpacker) onlyOnce(name string, err error) error {
	var perr *fs.PathError
	if errors.Is(err, fs.ErrExist) || errors.As(err, &perr) && strings.Contains(perr.Err.Error(), "not a directory") {
		return badContent("%q is there twice, or below a file", name)
	}
	return err
}

// file writes one file.
func (u *unpacker) file(ctx context.Context, e entry, content io.Reader) error {
	u.files--
	u.bytes -= e.size
	if e.size < 0 || u.files < 0 || u.bytes < 0 {
		return badContent("there are more files or bytes than the manifest says")
	}
	if err := u.root.MkdirAll(path.Dir(e.path), 0o700); err != nil {
		return u.onlyOnce(e.path, err)
	}
	file, err := u.root.OpenFile(e.path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return u.onlyOnce(e.path, err)
	}
	err = copyAll(ctx, file, content, e.size)
	if errors.Is(err, errChanged) {
		err = badContent("%q is shorter than its header says", e.path)
	}
	err = errors.Join(err, file.Chmod(e.mode.Perm()|0o400), file.Close())
	if err == nil {
		err = u.root.Chtimes(e.path, e.time, e.time)
	}
	u.others = append(u.others, e.path)
	return err
}

// finish makes the links, and checks that all is there.
func (u *unpacker) finish() error {
	if u.files != 0 || u.bytes != 0 {
		return badContent("the manifest says that there are %d more files and %d more bytes than there are", u.files, u.bytes)
	}
	slices.SortFunc(u.links, func(a, b entry) int { return strings.Compare(a.path, b.path) })
	for _, e := range u.links {
		if err := u.root.MkdirAll(path.Dir(e.path), 0o700); err != nil {
			return u.onlyOnce(e.path, err)
		}
		if err := u.root.Symlink(e.link, e.path); err != nil {
			return u.onlyOnce(e.path, err)
		}
	}
	return nil
}
