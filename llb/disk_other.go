//go:build !unix

package llb

import "io/fs"

// inode is what the system knows of a file beside its name, size and mode: here, nothing.
type inode struct {
	dev, ino, links, rdev uint64
	uid, gid              uint32
	ctime                 int64
}

func inodeOf(fs.FileInfo) inode { return inode{} }
