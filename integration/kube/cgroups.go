package kube

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ibuild/ibuild/integration/workfolder"
)

const cgroupRoot = "/sys/fs/cgroup"

// cgroupTimeout is how long the kernel may take to let go of killed processes.
const cgroupTimeout = 10 * time.Second

// workFolders are the folders of clusters, each with a control group of the
// same name.
func workFolders() workfolder.Kind {
	return workfolder.Kind{
		Prefix: "ibuild-kube-",
		Before: func(dir string) error { return removeCgroup(filepath.Base(dir)) },
	}
}

// cgroup is the path of the cluster's control group; below it each node has
// one.
func (c *Cluster) cgroup() string { return filepath.Base(c.Dir) }

// cgroupTops are the hierarchies of control groups: one in version 2, one for
// each controller in version 1.
func cgroupTops() (tops []string, unified bool, err error) {
	var stat unix.Statfs_t
	if err := unix.Statfs(cgroupRoot, &stat); err != nil {
		return nil, false, err
	}
	if stat.Type == unix.CGROUP2_SUPER_MAGIC {
		return []string{cgroupRoot}, true, nil
	}
	tops, err = filepath.Glob(filepath.Join(cgroupRoot, "*", "cgroup.procs"))
	for i, file := range tops {
		tops[i] = filepath.Dir(file)
	}
	return tops, false, err
}

// makeCgroup makes a control group in all hierarchies, with all controllers.
func makeCgroup(path string) error {
	tops, unified, err := cgroupTops()
	if err != nil {
		return err
	}
	for _, top := range tops {
		dir := filepath.Join(top, path)
		if err := os.Mkdir(dir, 0o755); err != nil {
			return err
		}
		inherit := inheritCpuset
		if unified {
			inherit = passOn
		}
		if err := inherit(filepath.Dir(dir), dir); err != nil {
			return err
		}
	}
	return nil
}

// passOn hands the controllers that a kubelet asks for to what is below the
// groups, as version 2 wants it.
func passOn(parent, dir string) error {
	for _, group := range []string{parent, dir} {
		available, err := os.ReadFile(filepath.Join(group, "cgroup.controllers"))
		if err != nil {
			return err
		}
		for _, controller := range strings.Fields(string(available)) {
			if !slices.Contains([]string{"cpu", "cpuset", "memory", "pids", "hugetlb"}, controller) {
				continue
			}
			err := os.WriteFile(filepath.Join(group, "cgroup.subtree_control"), []byte("+"+controller), 0o644)
			if errors.Is(err, unix.EBUSY) {
				return fmt.Errorf("%s has processes, so that no group below it can have controllers: move them to a group of their own", group)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// inheritCpuset fills in what version 1 leaves empty in new groups.
func inheritCpuset(parent, dir string) error {
	for _, name := range []string{"cpuset.cpus", "cpuset.mems"} {
		value, err := os.ReadFile(filepath.Join(parent, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), value, 0o644)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// removeCgroup removes a control group with all below it, once the processes
// in it are gone.
func removeCgroup(path string) error {
	tops, _, err := cgroupTops()
	if err != nil {
		return err
	}
	var errs []error
	for _, top := range tops {
		for deadline := time.Now().Add(cgroupTimeout); ; time.Sleep(10 * time.Millisecond) {
			err := removeGroups(filepath.Join(top, path))
			if err == nil {
				break
			}
			if !errors.Is(err, unix.EBUSY) || time.Now().After(deadline) {
				errs = append(errs, err)
				break
			}
		}
	}
	return errors.Join(errs...)
}

// removeGroups removes a group after those below it. Their files cannot be
// removed and need not be.
func removeGroups(dir string) error {
	var groups []string
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() {
			groups = append(groups, path)
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil // gone meanwhile
		}
		return err
	})
	if err != nil {
		return err
	}
	slices.Reverse(groups) // parents come first in a walk
	for _, group := range groups {
		if err := unix.Rmdir(group); err != nil && !errors.Is(err, unix.ENOENT) {
			return &fs.PathError{Op: "rmdir", Path: group, Err: err}
		}
	}
	return nil
}
