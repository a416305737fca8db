package llb

import (
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// lstat looks at a name in the folder: one call of the system for each file, into memory that the next one takes
// again. Looking at 10,000 files by [os.Root.Lstat] takes twice the time.
func (o *openFolder) lstat(name string) (f diskFile, err error) {
	if name == "" || name == "." || name == ".." { // of a damaged record; the root knows what to do
		return o.lstatInRoot(name)
	}
	if o.file == nil {
		if o.file, err = o.root.Open("."); err != nil {
			return f, err
		}
	}
	st := &o.stat
	for {
		if err = unix.Fstatat(int(o.file.Fd()), name, st, unix.AT_SYMLINK_NOFOLLOW); err != unix.EINTR {
			break
		}
	}
	if err != nil {
		return f, &fs.PathError{Op: "lstat", Path: name, Err: err}
	}
	f.mode = modeOf(st.Mode)
	f.inode = inode{dev: uint64(st.Dev), ino: st.Ino, links: uint64(st.Nlink), rdev: uint64(st.Rdev), uid: st.Uid, gid: st.Gid, ctime: st.Ctim.Nano()}
	f.key = fileKey{dev: f.inode.dev, ino: f.inode.ino, size: st.Size, mtime: st.Mtim.Nano(), ctime: f.inode.ctime}
	return f, nil
}

// folderState is what an open folder keeps for lstat.
type folderState struct {
	file *os.File // nil until something is looked at
	stat unix.Stat_t
}

func (s *folderState) release() {
	if s.file != nil {
		s.file.Close()
	}
}

// modeOf is Linux's mode in Go's form.
func modeOf(mode uint32) fs.FileMode {
	m := fs.FileMode(mode & 0o777)
	switch mode & unix.S_IFMT {
	case unix.S_IFDIR:
		m |= fs.ModeDir
	case unix.S_IFLNK:
		m |= fs.ModeSymlink
	case unix.S_IFIFO:
		m |= fs.ModeNamedPipe
	case unix.S_IFSOCK:
		m |= fs.ModeSocket
	case unix.S_IFBLK:
		m |= fs.ModeDevice
	case unix.S_IFCHR:
		m |= fs.ModeDevice | fs.ModeCharDevice
	}
	if mode&unix.S_ISUID != 0 {
		m |= fs.ModeSetuid
	}
	if mode&unix.S_ISGID != 0 {
		m |= fs.ModeSetgid
	}
	if mode&unix.S_ISVTX != 0 {
		m |= fs.ModeSticky
	}
	return m
}
