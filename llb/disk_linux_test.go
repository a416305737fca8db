package llb

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// What is seen of a name is what os.Root sees, whatever kind of file it is.
func TestLstatIsThatOfRoot(t *testing.T) {
	dir := fill(t, map[string]string{"file": "1234", "sub/x": ""})
	in := func(name string) string { return filepath.Join(dir, name) }
	for _, err := range []error{
		os.Symlink("file", in("link")), unix.Mkfifo(in("pipe"), 0o640), unix.Mknod(in("socket"), unix.S_IFSOCK|0o600, 0), os.Link(in("file"), in("second")),
		os.WriteFile(in("setuid"), nil, 0o700), os.Chmod(in("setuid"), 0o711|fs.ModeSetuid|fs.ModeSetgid), os.Chmod(in("sub"), 0o750|fs.ModeSticky),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	names := []string{"file", "link", "pipe", "socket", "second", "setuid", "sub", ".", "", "..", "none", "a\x00b"}
	for major := range uint32(2) { // where it is allowed
		for kind, name := range map[uint32]string{unix.S_IFCHR: "char", unix.S_IFBLK: "block"} {
			if unix.Mknod(in(name), kind|0o600, int(unix.Mkdev(major+1, 300))) == nil {
				names = append(names, name)
			}
		}
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	o := &openFolder{root: root}
	defer o.close()
	for _, name := range names {
		want, wantErr := o.lstatInRoot(name)
		got, err := o.lstat(name)
		if got.mode != want.mode || got.key != want.key || got.inode != want.inode || (err == nil) != (wantErr == nil) || errors.Is(err, fs.ErrNotExist) != errors.Is(wantErr, fs.ErrNotExist) {
			t.Errorf("%q is %+v (%v), want %+v (%v)", name, got, err, want, wantErr)
		}
	}
}
