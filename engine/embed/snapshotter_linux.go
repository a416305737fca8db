package embed

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/plugins/snapshots/native"
	"github.com/containerd/containerd/v2/plugins/snapshots/overlay"
	"github.com/containerd/containerd/v2/plugins/snapshots/overlay/overlayutils"
	fuseoverlayfs "github.com/containerd/fuse-overlayfs-snapshotter/v2"
)

// snapshotterKind is one way to store layers. The list of them is in order of
// preference.
type snapshotterKind struct {
	name  string
	works func(dir string) error
	open  func(dir string) (snapshots.Snapshotter, error)
	needs string // what to install or allow to make it work
}

func snapshotterKinds() []snapshotterKind {
	return []snapshotterKind{
		{
			name:  overlayFS,
			works: overlayutils.Supported,
			open: func(dir string) (snapshots.Snapshotter, error) {
				return overlay.NewSnapshotter(dir, overlay.AsynchronousRemove)
			},
			needs: "It needs a state folder on ext4, xfs (ftype=1), btrfs or tmpfs, not on overlayfs; in a user namespace also Linux 5.11 or newer.",
		},
		{
			name:  fuseOverlayFS,
			works: fuseWorks,
			open:  func(dir string) (snapshots.Snapshotter, error) { return fuseoverlayfs.NewSnapshotter(dir) },
			needs: "Install fuse-overlayfs and fuse3 (Debian, Ubuntu: apt install fuse-overlayfs fuse3), and allow the user to open /dev/fuse.",
		},
		{
			name:  nativeFS,
			works: func(string) error { return nil },
			open:  native.NewSnapshotter,
		},
	}
}

// fuseWorks names the usual reasons in few words before it tries.
func fuseWorks(dir string) error {
	for _, program := range []string{"fuse-overlayfs", "mount.fuse3"} {
		if _, err := exec.LookPath(program); err != nil {
			return fmt.Errorf("%s is not installed", program)
		}
	}
	f, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
	if err != nil {
		return err
	}
	f.Close()
	return fuseoverlayfs.Supported(dir)
}

// chooseHere tries snapshotters in this process's mount namespace.
func chooseHere(root, name string) (Choice, snapshotterKind, error) {
	probe, err := os.MkdirTemp(root, "probe-")
	if err != nil {
		return Choice{}, snapshotterKind{}, err
	}
	defer os.RemoveAll(probe)
	return choose(snapshotterKinds(), probe, name)
}

// choose takes the snapshotter with that name, or the first that works.
func choose(kinds []snapshotterKind, dir, name string) (Choice, snapshotterKind, error) {
	if name == "" || name == autoFS {
		return chooseBest(kinds, dir)
	}
	for _, k := range kinds {
		if k.name != name {
			continue
		}
		if err := k.works(dir); err != nil {
			return Choice{}, k, &SetupError{Kind: SetupSnapshotter, Err: shortProbe(err, dir),
				Problem: fmt.Sprintf("the snapshotter %s does not work here", name), Hint: k.needs}
		}
		return Choice{Name: name, Reason: "asked for"}, k, nil
	}
	return Choice{}, snapshotterKind{}, &SetupError{Kind: SetupSnapshotter,
		Problem: fmt.Sprintf("there is no snapshotter %q", name),
		Hint:    "The snapshotters are overlayfs, fuse-overlayfs, native and auto."}
}

func chooseBest(kinds []snapshotterKind, dir string) (Choice, snapshotterKind, error) {
	var refused []string
	for _, k := range kinds {
		err := k.works(dir)
		if err != nil {
			refused = append(refused, fmt.Sprintf("%s does not work here: %v.", k.name, shortProbe(err, dir)))
			continue
		}
		reason := "the fastest one, and it works here"
		if len(refused) > 0 {
			reason = strings.Join(refused, " ")
		}
		return Choice{Name: k.name, Reason: reason}, k, nil
	}
	return Choice{}, snapshotterKind{}, &SetupError{Kind: SetupSnapshotter,
		Problem: "no snapshotter works here", Hint: strings.Join(refused, "\n")}
}

// probeError is a probe's error with the probe's folder, which is gone by the
// time anyone reads it, cut out of its text.
type probeError struct {
	text string
	err  error
}

func (e *probeError) Error() string { return e.text }
func (e *probeError) Unwrap() error { return e.err }

func shortProbe(err error, dir string) error {
	text := strings.ReplaceAll(err.Error(), dir, filepath.Dir(dir))
	return &probeError{text: strings.TrimSuffix(text, "."), err: err}
}
