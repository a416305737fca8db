package llb

import (
	"os"

	"golang.org/x/sys/unix"
)

// Numbers of file systems (statfs) that x/sys/unix has no name for.
const (
	zfsMagic = 0x2fc12fc1
	jfsMagic = 0x3153464a
)

// traitsOf asks which file system an open file is on.
func traitsOf(f *os.File) traits {
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(f.Fd()), &st); err != nil {
		return traits{}
	}
	return traitsOfMagic(uint32(st.Type))
}

// traitsOfMagic knows the file systems whose times are this kernel's. What is served by another machine or
// program (NFS, SMB, 9p, FUSE, virtiofs) has another clock, or none that can be believed.
func traitsOfMagic(magic uint32) traits {
	switch magic {
	case unix.EXT4_SUPER_MAGIC, // ext2 and ext3, too
		unix.XFS_SUPER_MAGIC, unix.BTRFS_SUPER_MAGIC, unix.F2FS_SUPER_MAGIC:
		return traits{ownClock: true, xattrsSetCtime: true}
	case unix.TMPFS_MAGIC, // sets it since Linux 6.2
		unix.OVERLAYFS_SUPER_MAGIC, // does as the one below
		unix.RAMFS_MAGIC, unix.BCACHEFS_SUPER_MAGIC, zfsMagic, jfsMagic:
		return traits{ownClock: true}
	}
	return traits{}
}
