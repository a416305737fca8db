package llb

import (
	"fmt"
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
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return traits{}
	}
	return traitsOfMagic(uint32(st.Type), unix.ByteSliceToString(u.Release[:]))
}

// traitsOfMagic knows the file systems whose times are this kernel's. What is served by another machine or
// program (NFS, SMB, 9p, FUSE, virtiofs) has another clock, or none that can be believed. release is the kernel's.
func traitsOfMagic(magic uint32, release string) traits {
	switch magic {
	case unix.EXT4_SUPER_MAGIC, // ext2 and ext3, too
		unix.XFS_SUPER_MAGIC, unix.BTRFS_SUPER_MAGIC, unix.F2FS_SUPER_MAGIC:
		return traits{ownClock: true, xattrsSetCtime: true}
	case unix.TMPFS_MAGIC:
		return traits{ownClock: true, xattrsSetCtime: atLeast(release, 6, 2)}
	case unix.OVERLAYFS_SUPER_MAGIC, // does as the one below
		unix.RAMFS_MAGIC, unix.BCACHEFS_SUPER_MAGIC, zfsMagic, jfsMagic:
		return traits{ownClock: true}
	}
	return traits{}
}

// atLeast says whether a kernel's release ("6.18.44-generic") is that version or a later one.
func atLeast(release string, major, minor int) bool {
	var a, b int
	if n, _ := fmt.Sscanf(release, "%d.%d", &a, &b); n < 2 {
		return false
	}
	return a > major || a == major && b >= minor
}
