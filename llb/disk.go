package llb

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"github.com/containerd/continuity/sysx"
	"github.com/tonistiigi/fsutil"
	fstypes "github.com/tonistiigi/fsutil/types"
)

// disk is a folder of this machine. It shows what fsutil's own file system shows of it, but knows more of each
// file (inode and time of change), and leads nowhere outside when a folder becomes a link while it is read.
type disk struct {
	dir string // without links
}

func newDisk(dir string) (disk, error) {
	resolved, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return disk{}, &fs.PathError{Op: "resolve", Path: dir, Err: err}
	}
	switch info, err := os.Stat(resolved); {
	case err != nil:
		return disk{}, err
	case !info.IsDir():
		return disk{}, &fs.PathError{Op: "stat", Path: dir, Err: syscall.ENOTDIR}
	}
	return disk{resolved}, nil
}

// fileKey changes when a file is written to, replaced or given other attributes: the system sets the time of
// change, and nobody else can. Times are in nanoseconds since 1970.
type fileKey struct {
	dev, ino           uint64
	size, mtime, ctime int64
}

// diskFile is what can be seen of a file without reading it.
type diskFile struct {
	path   string // from the root, with the system's separators
	mode   fs.FileMode
	key    fileKey
	link   string // target of a symbolic link
	inode  inode
	xattrs map[string][]byte // nil for none, and where nobody asked
	gone   bool              // removed after the folder was listed
}

// stat is the same as fsutil's, but for extended attributes and hard links.
func (f *diskFile) stat() *fstypes.Stat {
	st := &fstypes.Stat{
		Path: f.path, Mode: uint32(f.mode), ModTime: f.key.mtime, Linkname: f.link, Xattrs: f.xattrs,
		Uid: f.inode.uid, Gid: f.inode.gid,
	}
	if !f.mode.IsDir() {
		st.Size = f.key.size
		st.Devmajor, st.Devminor = int64(f.inode.rdev>>8&0xfff), int64(f.inode.rdev&0xff|f.inode.rdev>>12&0xfff00)
	}
	return st
}

// visitor opens the files of a folder, each by the folder that it is in, which stays open for the next one.
// It is for one goroutine.
type visitor struct {
	disk disk
	root *openFolder
	dir  string      // of at
	at   *openFolder // nil for none
}

// openFolder is a folder that is open. Nothing outside of it can be reached by it.
type openFolder struct {
	root *os.Root
	folderState
}

func (o *openFolder) close() {
	o.release()
	o.root.Close()
}

func (d disk) visit() (*visitor, error) {
	root, err := os.OpenRoot(d.dir)
	if err != nil {
		return nil, err
	}
	return &visitor{disk: d, root: &openFolder{root: root}}, nil
}

func (v *visitor) close() {
	v.leave()
	v.root.close()
}

func (v *visitor) leave() {
	if v.at != nil {
		v.at.close()
		v.at = nil
	}
}

// in returns the folder of a path, and its name there.
func (v *visitor) in(p string) (*openFolder, string, error) {
	i := strings.LastIndexByte(p, filepath.Separator)
	if i < 0 {
		return v.root, p, nil
	}
	if dir := p[:i]; v.at == nil || v.dir != dir {
		v.leave()
		at, err := v.root.root.OpenRoot(dir)
		if err != nil {
			return nil, "", inPath(p, err)
		}
		v.at, v.dir = &openFolder{root: at}, dir
	}
	return v.at, p[i+1:], nil
}

// lstat looks at a file, without its extended attributes.
func (v *visitor) lstat(p string) (diskFile, error) {
	at, name, err := v.in(p)
	if err != nil {
		return diskFile{}, err
	}
	f, err := at.lstat(name)
	if err != nil {
		return diskFile{}, inPath(p, err)
	}
	f.path = p
	if f.mode&fs.ModeSymlink != 0 {
		if f.link, err = at.root.Readlink(name); err != nil {
			return diskFile{}, inPath(p, err)
		}
	}
	if runtime.GOOS == "windows" { // has no such bits, and images need them
		f.mode = f.mode&^fs.ModePerm | f.mode.Perm()&0o755 | 0o111
	}
	f.mode &^= fs.ModeSocket // as fsutil has it
	return f, nil
}

func (o *openFolder) lstatInRoot(name string) (diskFile, error) {
	info, err := o.root.Lstat(name)
	if err != nil {
		return diskFile{}, err
	}
	n := inodeOf(info)
	return diskFile{mode: info.Mode(), inode: n, key: n.key(info)}, nil
}

// key is the key of the file that the inode was read from.
func (n inode) key(info fs.FileInfo) fileKey {
	return fileKey{dev: n.dev, ino: n.ino, size: info.Size(), mtime: info.ModTime().UnixNano(), ctime: n.ctime}
}

// open opens a file for reading. It does not wait for the other end of a pipe.
func (v *visitor) open(p string) (*os.File, error) {
	at, name, err := v.in(p)
	if err != nil {
		return nil, err
	}
	f, err := at.root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	return f, inPath(p, err)
}

// openFile opens a file that was one before. What is none any more is an error: a pipe could be waited for without end.
func (v *visitor) openFile(p string) (*os.File, error) {
	f, err := v.open(p)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("it is %s now, and was a file", info.Mode().Type())
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// inPath names the whole path in an error about the last part of it.
func inPath(p string, err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return &fs.PathError{Op: pe.Op, Path: p, Err: pe.Err}
	}
	return err
}

// vanished says that a file, or a folder that it was in, is not there any more.
func vanished(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)
}

// readXattrs returns a file's extended attributes. Those that cannot be read are left out, as fsutil does.
func (d disk) readXattrs(p string) (map[string][]byte, error) {
	full := filepath.Join(d.dir, p)
	keys, err := sysx.LListxattr(full)
	if err != nil {
		if errors.Is(err, syscall.ENOTSUP) {
			return nil, nil
		}
		return nil, fmt.Errorf("extended attributes of %s: %w", p, err)
	}
	var attrs map[string][]byte
	for _, k := range keys {
		if strings.HasPrefix(k, "com.apple.") {
			continue
		}
		if v, err := sysx.LGetxattr(full, k); err == nil {
			if attrs == nil {
				attrs = map[string][]byte{}
			}
			attrs[k] = v
		}
	}
	return attrs, nil
}

// walk visits what is below target ("" for all), in the order of names, by the rules of [filepath.WalkDir].
// entry makes what is shown of a name. A folder that becomes a link meanwhile may show foreign names, but who looks
// at or opens a file goes through a visitor, which does not follow it.
func (d disk) walk(ctx context.Context, target string, entry func(p string, kind fs.FileMode) fs.DirEntry, do fs.WalkDirFunc) error {
	w := &walker{ctx: ctx, disk: d, entry: entry, do: do}
	target = strings.TrimLeft(filepath.Clean(target), string(filepath.Separator))
	if target == "" || target == "." {
		return skip(w.folder("", nil))
	}
	info, err := os.Lstat(filepath.Join(d.dir, target))
	switch {
	case vanished(err):
		return nil
	case err != nil:
		return skip(do(target, nil, err))
	}
	return skip(w.visit(target, info.Mode().Type()))
}

// skip ends a walk early without an error.
func skip(err error) error {
	if err == fs.SkipDir || err == fs.SkipAll {
		return nil
	}
	return err
}

type walker struct {
	ctx   context.Context
	disk  disk
	entry func(p string, kind fs.FileMode) fs.DirEntry
	do    fs.WalkDirFunc
}

func (w *walker) visit(p string, kind fs.FileMode) error {
	if err := w.ctx.Err(); err != nil {
		return err
	}
	e := w.entry(p, kind)
	err := w.do(p, e, nil)
	if err == nil && kind.IsDir() {
		err = w.folder(p, e)
	}
	if err == fs.SkipDir && kind.IsDir() {
		return nil // this folder, and no other
	}
	return err
}

// folder visits what is in a folder; e is nil for the root, which is not visited itself.
func (w *walker) folder(p string, e fs.DirEntry) error {
	list, err := os.ReadDir(filepath.Join(w.disk.dir, p))
	if err != nil && e == nil {
		return err
	}
	if err != nil {
		if err := w.do(p, e, err); err != nil {
			return err
		}
	}
	prefix := p
	if p != "" {
		prefix += string(filepath.Separator)
	}
	for _, c := range list {
		if err := w.visit(prefix+c.Name(), c.Type()); err == fs.SkipDir {
			break // the rest of this folder
		} else if err != nil {
			return err
		}
	}
	return nil
}

// diskEntry is a file on a walk. It is looked at when somebody asks for its Info, so ignored ones are not.
type diskEntry struct {
	path string
	kind fs.FileMode
	look func(p string, kind fs.FileMode) (*fstypes.Stat, error)
	stat *fstypes.Stat
}

func (e *diskEntry) Name() string      { return filepath.Base(e.path) }
func (e *diskEntry) IsDir() bool       { return e.kind.IsDir() }
func (e *diskEntry) Type() fs.FileMode { return e.kind }

func (e *diskEntry) Info() (fs.FileInfo, error) {
	if e.stat == nil {
		st, err := e.look(e.path, e.kind)
		if err != nil {
			return nil, err
		}
		e.stat = st
	}
	return &fsutil.StatInfo{Stat: e.stat.Clone()}, nil // callers change it
}

// namesFS shows names and kinds alone, for whoever looks at the files later.
type namesFS struct{ disk }

func (n namesFS) Walk(ctx context.Context, target string, do fs.WalkDirFunc) error {
	entry := func(p string, kind fs.FileMode) fs.DirEntry { return &nameEntry{n.disk, p, kind} }
	return n.walk(ctx, target, entry, do)
}

func (n namesFS) Open(p string) (io.ReadCloser, error) { return os.OpenInRoot(n.dir, p) }

type nameEntry struct {
	disk disk
	path string
	kind fs.FileMode
}

func (e *nameEntry) Name() string      { return filepath.Base(e.path) }
func (e *nameEntry) IsDir() bool       { return e.kind.IsDir() }
func (e *nameEntry) Type() fs.FileMode { return e.kind }

// Info looks at symbolic links only: their targets are followed by the rules of a source.
func (e *nameEntry) Info() (fs.FileInfo, error) {
	st := &fstypes.Stat{Path: e.path, Mode: uint32(e.kind)}
	if e.kind&fs.ModeSymlink != 0 {
		link, err := os.Readlink(filepath.Join(e.disk.dir, e.path))
		if err != nil && !vanished(err) {
			return nil, err
		}
		st.Linkname = link
	}
	return &fsutil.StatInfo{Stat: st}, nil
}
