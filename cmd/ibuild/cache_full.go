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
	"github.com/ibuild/ibuild/engine/embed"
	"golang.org/x/sys/unix"
)

// isFullDisk says whether an error is about a disk, or a user's quota, that is full. Across BuildKit's API there is
// only the text of it.
func isFullDisk(err error) bool {
	return cache.IsFull(err) || containsAny(err.Error(), unix.ENOSPC.Error(), unix.EDQUOT.Error())
}

// fullHint says how much of the disk is ibuild's, and how to free it.
func fullHint() string {
	var parts []string
	add := func(what, dir string, err error) {
		if err != nil {
			return
		}
		if used, whole := folderSize(dir); used > 0 {
			parts = append(parts, fmt.Sprintf("%s has %s%s (%s)", what, map[bool]string{false: "more than "}[whole], size(used), dir))
		}
	}
	dir, err := filepath.Abs(first(os.Getenv("IBUILD_CACHE"), cache.DefaultDir()))
	add("the cache", dir, err)
	root, err := embed.DefaultRoot()
	add("the in-process engine", first(os.Getenv("IBUILD_ROOT"), root), err)
	hint := "`ibuild cache du` says what fills it, `ibuild cache prune` frees it; a remote builder has a disk of its own"
	if len(parts) > 0 {
		hint = strings.Join(parts, ", ") + "\n" + hint
	}
	return hint
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
