package embed

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/containerd/containerd/v2/core/mount"
	"golang.org/x/sys/unix"
)

// sweep removes what a killed engine left behind: containers, mounts, bundles,
// temporary files and databases that were just being made. It must be called with the state folder's lock held, so that nothing
// below the folder can be anyone else's. What it cannot remove stays; that is no
// reason not to build.
//
// In user mode the kernel has done most of this already, because containers and
// mounts die with the namespaces of the child.
func sweep(s settings) {
	for _, c := range staleContainers(runtimeStateDir(s.rootless), s.root) {
		_ = exec.Command(s.runtimePath, "delete", "--force", c).Run()
	}
	for _, point := range staleMounts(currentMounts(), s, os.TempDir()) {
		_ = unix.Unmount(point, unix.MNT_DETACH)
		removeMountPoint(point)
	}
	removeBundles(s.executorDir())
	removeTemp(currentMounts(), s.tempDir())
	removeCutOff(s.dir)
}

// removeCutOff removes databases that a full disk, or a kill, has cut off while they were made: bbolt makes a file
// with its first four pages in it. Nothing is in such a file, and bbolt would read beyond its end, which ends the
// process.
func removeCutOff(dir string) {
	least := int64(4 * os.Getpagesize())
	for _, pattern := range []string{"*.db", "snapshots/*.db"} {
		files, _ := filepath.Glob(filepath.Join(dir, pattern)) // the pattern is right
		for _, f := range files {
			if info, err := os.Lstat(f); err == nil && info.Mode().IsRegular() && info.Size() < least {
				_ = os.Remove(f)
			}
		}
	}
}

// enterTemp has BuildKit, which asks os.TempDir, and containerd put their temporary files and mounts into a folder of the engine's own. In
// the common one nobody could tell what a killed engine has left from what a living one needs: a tmpfs with secrets,
// say. It is a setting of the whole process, so a process should have one engine at a time.
func enterTemp(dir string) (leave func(), err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	if err := mount.SetTempMountLocation(dir); err != nil { // containerd has asked for the common one, or XDG_RUNTIME_DIR, already
		return nil, err
	}
	const name = "TMPDIR"
	was, set := os.LookupEnv(name)
	if err := os.Setenv(name, dir); err != nil {
		return nil, err
	}
	return func() {
		switch {
		case os.Getenv(name) != dir: // somebody else's by now
		case set:
			_ = os.Setenv(name, was)
		default:
			_ = os.Unsetenv(name)
		}
	}, nil
}

// removeTemp empties the engine's folder for temporary files, unless something is mounted there still: through it,
// layers would be emptied.
func removeTemp(table []mountEntry, dir string) {
	if slices.ContainsFunc(table, func(m mountEntry) bool { return isBelow(m.point, dir) }) {
		return
	}
	entries, _ := os.ReadDir(dir) // none: nothing to remove
	for _, e := range entries {
		_ = os.RemoveAll(filepath.Join(dir, e.Name()))
	}
}

// currentMounts reads the mounts of this process's namespace.
func currentMounts() []mountEntry {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil
	}
	defer f.Close()
	return readMounts(f)
}

// removeMountPoint removes the empty folder or file that something was mounted on.
func removeMountPoint(point string) {
	_ = os.Remove(point)
	if dir := filepath.Dir(point); isTemporaryName(filepath.Base(dir)) {
		_ = os.Remove(dir)
	}
}

// runtimeStateDir is where runc keeps the state of its containers.
func runtimeStateDir(rootless bool) string {
	if dir := os.Getenv("XDG_RUNTIME_DIR"); rootless && dir != "" {
		return filepath.Join(dir, "runc")
	}
	return "/run/runc"
}

// staleContainers lists the containers whose bundle is below root.
func staleContainers(stateDir, root string) []string {
	entries, err := os.ReadDir(stateDir)
	if err != nil {
		return nil
	}
	var stale []string
	for _, e := range entries {
		if bundle, ok := containerBundle(filepath.Join(stateDir, e.Name(), "state.json")); ok && isBelow(bundle, root) {
			stale = append(stale, e.Name())
		}
	}
	return stale
}

func containerBundle(stateFile string) (string, bool) {
	b, err := os.ReadFile(stateFile)
	if err != nil {
		return "", false
	}
	var state struct {
		Config struct {
			Labels []string `json:"labels"`
		} `json:"config"`
	}
	if json.Unmarshal(b, &state) != nil {
		return "", false
	}
	for _, l := range state.Config.Labels {
		if bundle, ok := strings.CutPrefix(l, "bundle="); ok {
			return bundle, true
		}
	}
	return "", false
}

// staleMounts lists the mount points, innermost first, that an engine made: in
// its executor's folder and that for temporary files, and of an older ibuild
// BuildKit's temporary ones of its content. Other
// mounts below the state folder are the user's.
func staleMounts(table []mountEntry, s settings, tmp string) []string {
	inFS, dev := pathInFS(table, s.dir)
	var stale []string
	for _, m := range table {
		temporary := isTemporaryPoint(m.point, tmp) &&
			(strings.Contains(m.options, s.dir+"/") || m.dev == dev && isBelow(m.source, inFS))
		if temporary || isBelow(m.point, s.executorDir()) || isBelow(m.point, s.tempDir()) {
			stale = append(stale, m.point)
		}
	}
	slices.Reverse(stale)
	return stale
}

// isTemporaryPoint says that BuildKit mounts at places like this: a folder in tmp,
// or for a single file a file in it.
func isTemporaryPoint(point, tmp string) bool {
	if filepath.Base(point) == "file" {
		point = filepath.Dir(point)
	}
	return filepath.Dir(point) == tmp && isTemporaryName(filepath.Base(point))
}

func isTemporaryName(name string) bool {
	return strings.HasPrefix(name, "buildkit-mount") || strings.HasPrefix(name, "containerd-mount")
}

// pathInFS says how path is called inside its file system, which is how the
// mount table shows the source of a bind mount.
func pathInFS(table []mountEntry, path string) (inFS, dev string) {
	longest := -1
	for _, m := range table {
		point := strings.TrimSuffix(m.point, "/")
		if (path == point || isBelow(path, point)) && len(point) >= longest {
			longest = len(point)
			inFS, dev = filepath.Join(m.source, path[len(point):]), m.dev
		}
	}
	return inFS, dev
}

// mountEntry is a line of /proc/self/mountinfo.
type mountEntry struct {
	dev     string // the device number of its file system
	source  string // the folder of its file system that is mounted
	point   string // where
	options string // the file system's own options
}

func readMounts(mountinfo io.Reader) []mountEntry {
	var table []mountEntry
	lines := bufio.NewScanner(mountinfo)
	lines.Buffer(make([]byte, 0, 64<<10), 4<<20) // an overlay's options list every layer
	for lines.Scan() {
		if m, ok := parseMount(lines.Text()); ok {
			table = append(table, m)
		}
	}
	return table
}

func parseMount(line string) (mountEntry, bool) {
	fields := strings.Fields(line)
	sep := slices.Index(fields, "-")
	if len(fields) < 6 || sep < 0 || sep+3 >= len(fields) {
		return mountEntry{}, false
	}
	return mountEntry{dev: fields[2], source: unescapeMount(fields[3]), point: unescapeMount(fields[4]), options: unescapeMount(fields[sep+3])}, true
}

// unescapeMount undoes the kernel's octal escapes of blanks and backslashes.
func unescapeMount(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// removeBundles removes the folders of containers: those with a config.json or
// an empty rootfs. A rootfs that has content may be a mount that could not be
// removed, and is left alone.
func removeBundles(executorDir string) {
	entries, err := os.ReadDir(executorDir)
	if err != nil {
		return
	}
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		dir := filepath.Join(executorDir, e.Name())
		if err := os.Remove(filepath.Join(dir, "rootfs")); err != nil && !errors.Is(err, os.ErrNotExist) {
			continue
		}
		_ = os.RemoveAll(dir)
	}
}

func isBelow(path, root string) bool { return strings.HasPrefix(path, root+"/") }
