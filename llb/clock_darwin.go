package llb

import (
	"os"

	"golang.org/x/sys/unix"
)

// traitsOf asks which file system an open file is on. What is served by another machine or program (smbfs, nfs,
// webdav, macFUSE) has another clock.
func traitsOf(f *os.File) traits {
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(f.Fd()), &st); err != nil {
		return traits{}
	}
	name := unix.ByteSliceToString(st.Fstypename[:])
	return traits{ownClock: name == "apfs" || name == "hfs"}
}
