package imagetest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sys/unix"
)

// View shows an image's root file system to look, in the folder root, which
// is gone when look has returned. It needs root. look runs in another goroutine,
// and root may be in sight of that one and of the programs that it starts alone:
// what a test does there ends with an error, not with Fatal.
func View(ctx context.Context, img v1.Image, look func(root string) error) (err error) {
	dir, err := os.MkdirTemp("", "ibuild-view-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	return viewIn(ctx, dir, img, look)
}

// viewIn is View in a folder that the caller removes. What look writes stays in
// there.
func viewIn(ctx context.Context, dir string, img v1.Image, look func(root string) error) error {
	root := filepath.Join(dir, "rootfs")
	layers, store, err := storedLayers(img)
	if err != nil {
		return err
	}
	if store == nil || !store.overlays {
		if err := Unpack(ctx, img, root); err != nil {
			return err
		}
		return look(root)
	}
	folders, err := store.stack(ctx, layers)
	if err != nil {
		return err
	}
	return overlay{lower: folders, upper: filepath.Join(dir, "upper"), work: filepath.Join(dir, "work"), root: root}.with(func() error { return look(root) })
}

// storedLayers are the layers of an image of a store, and that store; nil when
// the image is of none.
func storedLayers(img v1.Image) ([]*content, *Store, error) {
	of, ok := img.(*storedImage)
	if !ok {
		return nil, nil, nil
	}
	layers, err := of.Layers()
	if err != nil {
		return nil, nil, err
	}
	var contents []*content
	for _, l := range layers {
		c, err := l.(*storedLayer).content()
		if err != nil {
			return nil, nil, err
		}
		contents = append(contents, c)
	}
	return contents, of.store, nil
}

// applyOn unpacks an archive on top of folders and leaves in the folder upper
// what it changed.
func (s *Store) applyOn(ctx context.Context, lower []string, upper, archive string) (err error) {
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(upper))
		}
	}()
	if len(lower) == 0 {
		if err := os.Mkdir(upper, 0o755); err != nil {
			return err
		}
		return applyFile(ctx, upper, archive)
	}
	dir, err := os.MkdirTemp(s.dir, "apply-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	o := overlay{lower: lower, upper: upper, work: filepath.Join(dir, "work"), root: filepath.Join(dir, "root")}
	return o.with(func() error { return applyFile(ctx, o.root, archive) })
}

// tryOverlay says why folders of the store cannot be laid over each other, as
// on a file system that is such a thing itself.
func (s *Store) tryOverlay() (err error) {
	dir, err := os.MkdirTemp(s.dir, "try-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	lower := filepath.Join(dir, "lower")
	if err := os.Mkdir(lower, 0o755); err != nil {
		return err
	}
	o := overlay{lower: []string{lower}, upper: filepath.Join(dir, "upper"), work: filepath.Join(dir, "work"), root: filepath.Join(dir, "root")}
	return o.with(func() error { return nil })
}

// overlay is folders that lie over each other. All but those of lower are made.
type overlay struct {
	lower []string // the lowest first
	upper string   // gets what is changed
	work  string   // for the kernel's use
	root  string   // where all of it is seen
}

// with calls f while the overlay is mounted. Only f and what it starts see it:
// nothing is left of it, however this process ends.
func (o overlay) with(f func() error) error {
	for _, dir := range []string{o.upper, o.work, o.root} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			return err
		}
	}
	lower := slices.Clone(o.lower)
	slices.Reverse(lower)
	options := "lowerdir=" + strings.Join(lower, ":") + ",upperdir=" + o.upper + ",workdir=" + o.work
	return withOwnMounts(func() error {
		if err := unix.Mount("overlay", o.root, "overlay", 0, options); err != nil {
			return fmt.Errorf("mount %s: %w", o.root, err)
		}
		return errors.Join(f(), unix.Unmount(o.root, 0))
	})
}

// withOwnMounts calls f on a thread with mounts of its own, which ends with f.
func withOwnMounts(f func() error) error {
	ended := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() { // what /proc/self shows is this one's, and it cannot end
			defer runtime.UnlockOSThread()
			ended <- withOwnMounts(f)
			return
		}
		err := unix.Unshare(unix.CLONE_NEWNS)
		if err == nil {
			err = unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")
		}
		if err == nil {
			err = f()
		}
		ended <- err
	}()
	return <-ended
}
