package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/ibuild/ibuild/cache"
	"github.com/ibuild/ibuild/engine"
	"github.com/ibuild/ibuild/engine/embed"
	"golang.org/x/sys/unix"
)

// isFullDisk says whether an error is about a disk, or a user's quota, that is full. Across BuildKit's API there is
// only the text of it.
func isFullDisk(err error) bool {
	return cache.IsFull(err) || containsAny(err.Error(), unix.ENOSPC.Error(), unix.EDQUOT.Error())
}

// fullHintFor says what to do about an output or a step that met a full disk.
func fullHintFor(full *engine.FullError) string {
	if full.Output == "" {
		return "the step's output says that a disk is full: the builder's, unless the step has mounted another one\n" + fullHint()
	}
	hint := "make room there, or name a place on another disk with dest="
	for _, k := range keptFolders() {
		if sameDisk(k.dir, filepath.Dir(full.Output)) {
			return hint + "\n" + fullHint()
		}
	}
	return hint
}

// keptFolder is where ibuild keeps something on this machine.
type keptFolder struct{ what, dir string }

func keptFolders() (list []keptFolder) {
	if dir, err := filepath.Abs(first(os.Getenv("IBUILD_CACHE"), cache.DefaultDir())); err == nil {
		list = append(list, keptFolder{"the cache", dir})
	}
	if root, err := embed.DefaultRoot(); err == nil {
		list = append(list, keptFolder{"the in-process engine", first(os.Getenv("IBUILD_ROOT"), root)})
	}
	return list
}

// fullHint says how much of the disk is ibuild's, and how to free it.
func fullHint() string {
	var parts []string
	for _, k := range keptFolders() {
		var disk unix.Statfs_t
		if used, whole := folderSize(k.dir); used > 0 && unix.Statfs(k.dir, &disk) == nil {
			parts = append(parts, fmt.Sprintf("%s has %s%s in %s, where %s are free", k.what, map[bool]string{false: "more than "}[whole],
				cache.FormatSize(used), k.dir, cache.FormatSize(int64(disk.Bavail)*int64(disk.Bsize))))
		}
	}
	hint := "`ibuild cache du` says what fills it, `ibuild cache prune` frees it, and IBUILD_CACHE and IBUILD_ROOT are for another disk;\na remote builder has a disk of its own"
	if len(parts) > 0 {
		hint = strings.Join(parts, "\n") + "\n" + hint
	}
	return hint
}

func sameDisk(a, b string) bool {
	var x, y unix.Stat_t
	return unix.Stat(a, &x) == nil && unix.Stat(b, &y) == nil && x.Dev == y.Dev
}

// measureFor bounds how long an error waits for a size.
const measureFor = 2 * time.Second

// folderSize is the size of all files below a folder, and whether there was time for all of them.
func folderSize(dir string) (sum int64, whole bool) {
	end := time.Now().Add(measureFor)
	late := errors.New("late")
	err := filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if time.Now().After(end) {
			return late
		}
		if err != nil || !e.Type().IsRegular() {
			return nil // what cannot be read is not counted
		}
		if info, err := e.Info(); err == nil {
			sum += info.Size()
		}
		return nil
	})
	return sum, err == nil
}
