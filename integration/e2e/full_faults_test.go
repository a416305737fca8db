//go:build integration

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// smallDisk mounts a file system of some bytes that all users can write to.
func smallDisk(t *testing.T, size int) string {
	t.Helper()
	dir := folder(t)
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d,mode=777", size)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// bigger gives a small disk another size.
func bigger(t *testing.T, dir string, size int) {
	t.Helper()
	if err := unix.Mount("", dir, "", unix.MS_REMOUNT, fmt.Sprintf("size=%d,mode=777", size)); err != nil {
		t.Fatal(err)
	}
}

// bigSubject is an image with a file of 5 MB and many small ones, made by a step.
func bigSubject(t *testing.T, e engine) string {
	return files(t, "Dockerfile", "FROM busybox\nRUN dd if=/dev/urandom of=/big bs=1000000 count=5 && mkdir /some && cd /some && for i in $(seq 30); do echo "+nonce(t, e)+" >f$i; done\n")
}

// TestFullOutput writes each kind of output to a disk that is full: it says so, what was there stays, and nothing
// half-written is added.
func TestFullOutput(t *testing.T) {
	eachEngine(t, func(t *testing.T, e engine) {
		disk, source := smallDisk(t, 4<<20), bigSubject(t, e)
		write(t, filepath.Join(disk, "there/big"), "mine")
		write(t, filepath.Join(disk, "old.tar"), "mine")
		if err := e.user.Mkdir(filepath.Join(disk, "own")); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(filepath.Join(disk, "there"), 0o777); err != nil {
			t.Fatal(err)
		}
		for _, out := range []string{"type=local,dest=new", "type=local,dest=there", "type=local,dest=own", "type=tar,dest=new.tar", "type=oci,dest=old.tar", "type=docker,dest=new.tar"} {
			kind, dest, _ := strings.Cut(out, "dest=")
			dest = filepath.Join(disk, dest)
			o := end(t, e.command(t, "build", "--progress", "plain", "-o", kind+"dest="+dest, source))
			for _, want := range []string{"cannot write " + dest + ": its disk is full", "make room there", "dest="} {
				if o.code != 1 || !strings.Contains(o.stderr, want) {
					t.Errorf("%s: exit code %d, no %q in\n%s", out, o.code, want, o.stderr)
				}
			}
			if a, b := listing(t, disk), listing(t, filepath.Join(disk, "there")); a != "old.tar own there" || b != "big" || listing(t, filepath.Join(disk, "own")) != "" {
				t.Errorf("%s: there is %q, and in the folder %q", out, a, b)
			}
			if read(t, filepath.Join(disk, "there/big")) != "mine" || read(t, filepath.Join(disk, "old.tar")) != "mine" {
				t.Errorf("%s: what was there is gone", out)
			}
		}
		bigger(t, disk, 40<<20)
		e.ibuild(t, "build", "--progress", "plain", "-o", filepath.Join(disk, "own"), "-o", "type=tar,dest="+filepath.Join(disk, "new.tar"), source)
		if got := read(t, filepath.Join(disk, "own/some/f30")); got != nonce(t, e)+"\n" {
			t.Errorf("with room there is %q", got)
		}
	})
}

// TestFullEngine gives the engine's state folder a disk that is full at one moment of a build or another. It says so,
// and with more room the same folder works.
func TestFullEngine(t *testing.T) {
	for _, e := range inProcess(t) {
		t.Run(e.name, func(t *testing.T) {
			e, source := e.fresh(t), bigSubject(t, e)
			out := filepath.Join(folder(t), "tree.tar")
			for _, size := range []int{40 << 10, 200 << 10, 1 << 20, 2500 << 10, 5 << 20} {
				disk := smallDisk(t, size)
				build := func() outcome {
					cmd := e.command(t, "build", "--progress", "plain", "-o", "type=tar,dest="+out, source)
					cmd.Env = append(cmd.Env, "IBUILD_ROOT="+filepath.Join(disk, "state"))
					return end(t, cmd)
				}
				o := build()
				for _, want := range []string{"o space left on device", "`ibuild cache prune`", "IBUILD_ROOT"} {
					if o.code != 1 || !strings.Contains(o.stderr, want) {
						t.Errorf("%d bytes: exit code %d, no %q in\n%s", size, o.code, want, o.stderr)
					}
				}
				if _, err := os.Stat(out); err == nil {
					t.Errorf("%d bytes: there is an archive", size)
				}
				bigger(t, disk, 60<<20)
				if o := build(); o.code != 0 || len(filesOfTar(t, out)) < 30 {
					t.Errorf("%d bytes: with room: exit code %d\n%s", size, o.code, o.stderr)
				}
				_ = os.Remove(out)
			}
		})
	}
}
