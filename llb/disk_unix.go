//go:build unix

package llb

import (
	"io/fs"
	"syscall"

	confs "github.com/containerd/continuity/fs"
)

// inode is what the system knows of a file beside its name, size and mode. ctime is in nanoseconds since 1970.
type inode struct {
	dev, ino, links, rdev uint64
	uid, gid              uint32
	ctime                 int64
}

func inodeOf(info fs.FileInfo) inode {
	s, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return inode{}
	}
	ctime := confs.StatCtime(s)
	return inode{dev: uint64(s.Dev), ino: s.Ino, links: uint64(s.Nlink), rdev: uint64(s.Rdev), uid: s.Uid, gid: s.Gid, ctime: ctime.Nano()}
}
