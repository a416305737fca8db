package embed

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/core/snapshots"
)

func itoa(n int) string { return strconv.Itoa(n) }

func TestResolveRoot(t *testing.T) {
	dir := t.TempDir()
	link := filepath.Join(dir, "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	got, err := resolveRoot(filepath.Join(link, "a", "b"))
	if err != nil || got != filepath.Join(dir, "a", "b") {
		t.Errorf("got %q, %v", got, err)
	}
	if info, err := os.Stat(got); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("got %v, %v", info, err)
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{filepath.Join(dir, "a:b"), filepath.Join(dir, "a,b"), filepath.Join(file, "x")} {
		expectSetupError(t, func() error { _, err := resolveRoot(bad); return err }(), SetupRoot, "folder")
	}
}

func expectSetupError(t *testing.T, err error, kind SetupKind, hint string) {
	t.Helper()
	var setup *SetupError
	if !errors.As(err, &setup) {
		t.Fatalf("got %T: %v", err, err)
	}
	if setup.Kind != kind || !strings.Contains(setup.Hint, hint) {
		t.Errorf("got %s: %v; hint %q", setup.Kind, err, setup.Hint)
	}
}

// fakeKinds are snapshotters that work or not.
func fakeKinds(works ...error) []snapshotterKind {
	kinds := snapshotterKinds()
	for i := range kinds {
		kinds[i].works = func(string) error { return works[i] }
		kinds[i].open = func(string) (snapshots.Snapshotter, error) { return nil, errors.New("not opened") }
	}
	return kinds
}

func TestChoose(t *testing.T) {
	broken := errors.New("mount /r/probe-1/x: not permitted")
	for _, tc := range []struct {
		name, asked string
		kinds       []snapshotterKind
		want        string
		reason      string
	}{
		{"best", "", fakeKinds(nil, nil, nil), overlayFS, "the fastest one"},
		{"auto", "auto", fakeKinds(nil, nil, nil), overlayFS, "the fastest one"},
		{"second", "", fakeKinds(broken, nil, nil), fuseOverlayFS, "overlayfs does not work here: mount /r/x: not permitted."},
		{"last", "", fakeKinds(broken, broken, nil), nativeFS, "fuse-overlayfs does not work here"},
		{"asked", nativeFS, fakeKinds(nil, nil, nil), nativeFS, "asked for"},
	} {
		c, k, err := choose(tc.kinds, "/r/probe-1", tc.asked)
		if err != nil || c.Name != tc.want || k.name != tc.want || !strings.Contains(c.Reason, tc.reason) {
			t.Errorf("%s: got %+v, %v", tc.name, c, err)
		}
	}
	_, _, err := choose(fakeKinds(broken, broken, nil), "/r/probe-1", overlayFS)
	expectSetupError(t, err, SetupSnapshotter, "state folder on ext4")
	if !errors.Is(err, broken) {
		t.Error("the cause is lost")
	}
	_, _, err = choose(fakeKinds(nil, nil, nil), "/r", "zfs")
	expectSetupError(t, err, SetupSnapshotter, "native")
	_, _, err = choose(fakeKinds(broken, broken, broken), "/r", "")
	expectSetupError(t, err, SetupSnapshotter, "native does not work")
}

// writeRuntime makes a program that answers like an OCI runtime.
func writeRuntime(t *testing.T, version, help string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "rt")
	script := "#!/bin/sh\nif [ \"$1\" = --version ]; then echo '" + version + "'; else echo '" + help + "'; fi\n"
	if err := os.WriteFile(path, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestFindRuntime(t *testing.T) {
	rt, err := FindRuntime(writeRuntime(t, "runc version 1.1.5+ds1", ""))
	if err != nil || rt.Name != "runc" || rt.Version != "1.1.5+ds1" || !filepath.IsAbs(rt.Path) {
		t.Errorf("got %+v, %v", rt, err)
	}
	if _, err := FindRuntime(writeRuntime(t, "crun version 1.20", "  --keep  do not delete")); err != nil {
		t.Error(err)
	}
	if _, err := FindRuntime(writeRuntime(t, "runc version unknown", "")); err != nil {
		t.Error(err)
	}
	for name, path := range map[string]string{
		"old runc":    writeRuntime(t, "runc version 1.0.3", ""),
		"old crun":    writeRuntime(t, "crun version 1.8.1", "  --detach"),
		"not there":   "/no/such/runtime",
		"not in PATH": "no-such-runtime",
	} {
		_, err := FindRuntime(path)
		t.Run(name, func(t *testing.T) { expectSetupError(t, err, SetupRuntime, "Install runc") })
	}
	broken := filepath.Join(t.TempDir(), "broken")
	if err := os.WriteFile(broken, []byte("#!/bin/sh\necho no >&2; exit 3\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	_, err = FindRuntime(broken)
	expectSetupError(t, err, SetupRuntime, "Install runc")
}

func TestLookRuntimeBeyondPath(t *testing.T) {
	path := writeRuntime(t, "runc version 1.1.5", "")
	t.Setenv("PATH", "/nowhere")
	got, err := lookRuntime("rt", []string{filepath.Dir(path)})
	if err != nil || got != path {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestOlderThan(t *testing.T) {
	for version, want := range map[string]bool{
		"1.1.0": false, "1.1.0-rc.1": false, "1.2": false, "2.0": false, "1.0.9": true, "0.9": true, "dev": false, "": false,
	} {
		if got := olderThan(version, 1, 1); got != want {
			t.Errorf("%q: got %v", version, got)
		}
	}
}

func TestParseSubIDs(t *testing.T) {
	const file = "# comment\nme:100000:65536\nyou:1:2\n1000:300000:10\nme:bad:1\nme:5:0\nme:1\n"
	got := parseSubIDs(strings.NewReader(file), "me", 1000)
	want := []idRange{{100000, 65536}, {300000, 10}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v", got)
	}
	args := mapArguments(1000, got)
	if s := strings.Join(args, " "); s != "0 1000 1 1 100000 65536 65537 300000 10" {
		t.Errorf("got %s", s)
	}
	if _, err := readSubIDs("/no/such/file", "me", 1000); true {
		expectSetupError(t, err, SetupIDMap, "usermod --add-subuids")
	}
}

const mountTable = `22 1 254:0 / / rw,relatime - ext4 /dev/vda rw
30 22 0:20 / /proc rw - proc proc rw
31 22 254:1 / /home rw - ext4 /dev/vdb rw
40 22 0:50 / /home/u/engine/overlayfs/executor/abc/rootfs rw - overlay overlay rw,lowerdir=/home/u/engine/overlayfs/snapshots/1/fs
41 22 0:51 / /tmp/buildkit-mount1 rw - overlay overlay rw,upperdir=/home/u/engine/overlayfs/snapshots/2/fs
42 22 254:1 /u/engine/overlayfs/snapshots/snapshots/7/fs /tmp/buildkit-mount2 rw - ext4 /dev/vdb rw
48 22 254:1 /u/engine/overlayfs/snapshots/snapshots/7/fs/x /tmp/buildkit-mount5/file rw - ext4 /dev/vdb rw
43 22 254:1 /u/other/x /tmp/buildkit-mount3 rw - ext4 /dev/vdb rw
44 22 254:0 /u/engine/overlayfs/x /tmp/buildkit-mount4 rw - ext4 /dev/vda rw
45 22 254:1 /u/engine/overlayfs/x /mnt/mine rw - ext4 /dev/vdb rw
46 22 254:9 / /home/u/engine/overlayfs/content rw - ext4 /dev/users-own rw
47 22 0:52 / /home/u/engine/overlayfs/executor/a\040b rw - tmpfs tmpfs rw
broken line
`

func TestStaleMounts(t *testing.T) {
	s := settings{root: "/home/u/engine", dir: "/home/u/engine/overlayfs"}
	got := staleMounts(readMounts(strings.NewReader(mountTable)), s, "/tmp")
	want := []string{"/home/u/engine/overlayfs/executor/a b", "/tmp/buildkit-mount5/file", "/tmp/buildkit-mount2", "/tmp/buildkit-mount1",
		"/home/u/engine/overlayfs/executor/abc/rootfs"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %q", got)
	}
}

func TestStaleContainers(t *testing.T) {
	dir := t.TempDir()
	for id, state := range map[string]string{
		"mine":   `{"config":{"labels":["bundle=/r/overlayfs/executor/mine"]}}`,
		"theirs": `{"config":{"labels":["bundle=/r2/x"]}}`,
		"broken": `{`,
		"other":  `{"config":{}}`,
	} {
		if err := os.Mkdir(filepath.Join(dir, id), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, id, "state.json"), []byte(state), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got := staleContainers(dir, "/r"); !reflect.DeepEqual(got, []string{"mine"}) {
		t.Errorf("got %q", got)
	}
	if got := staleContainers("/no/such", "/r"); got != nil {
		t.Errorf("got %q", got)
	}
}

func TestRemoveBundles(t *testing.T) {
	dir := t.TempDir()
	for _, d := range []string{"dead/rootfs", "half", "mounted/rootfs/etc"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "hosts"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	removeBundles(dir)
	left, _ := filepath.Glob(filepath.Join(dir, "*"))
	if len(left) != 2 || filepath.Base(left[0]) != "hosts" || filepath.Base(left[1]) != "mounted" {
		t.Errorf("left: %q", left)
	}
}

func TestProcMaskedIn(t *testing.T) {
	const plain = "1 1 0:1 / / rw - ext4 x rw\n2 1 0:2 / /proc rw - proc proc rw\n"
	const binfmt = "3 2 0:3 / /proc/sys/fs/binfmt_misc rw - autofs x rw\n"
	const masked = "4 2 0:4 /null /proc/kcore rw - devtmpfs x rw\n"
	for table, want := range map[string]bool{plain: false, plain + binfmt: false, plain + masked: true} {
		if got := procMaskedIn(strings.NewReader(table)); got != want {
			t.Errorf("got %v for\n%s", got, table)
		}
	}
}

func TestIsDeadDaemon(t *testing.T) {
	for stat, want := range map[string]bool{
		"50 (fuse-overlayfs) Z 1 50 50 0":  true,
		"50 (a) b (c) Z 1 50 50 0":         true,
		"50 (fuse-overlayfs) S 1 50 50 0":  false, // alive
		"50 (runc) Z 1 50 7 0":             false, // of our session: someone waits for it
		"50 (fuse-overlayfs) Z 20 50 50 0": false, // another's child
		"":                                 false,
		"50 (x":                            false,
	} {
		p, _ := parseStat(stat)
		if got := p.isDeadDaemon(1, 7); got != want {
			t.Errorf("%q: got %v", stat, got)
		}
	}
}

func TestDescendants(t *testing.T) {
	all := []processStat{{pid: 2, parent: 1}, {pid: 3, parent: 2}, {pid: 4, parent: 3}, {pid: 5, parent: 1}, {pid: 6, parent: 9}}
	if got := descendants(all, 2); !reflect.DeepEqual(got, []int{3, 4}) {
		t.Errorf("got %v", got)
	}
	if got := descendants(processes(), os.Getpid()); len(got) != 0 {
		t.Errorf("this test started %v", got)
	}
}

func TestActivity(t *testing.T) {
	a := newActivity()
	end, err := a.begin()
	if err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(20*time.Millisecond, func() { end(); end() })
	if err := a.close(5 * time.Second); err != nil {
		t.Error(err)
	}
	if _, err := a.begin(); !errors.Is(err, errClosing) {
		t.Errorf("got %v", err)
	}
	busy := newActivity()
	if _, err := busy.begin(); err != nil {
		t.Fatal(err)
	}
	if err := busy.close(time.Millisecond); err == nil {
		t.Error("it did not say that something still runs")
	}
}

func TestTail(t *testing.T) {
	var log strings.Builder
	tl := &tail{log: &log}
	_, _ = tl.Write([]byte(strings.Repeat("x", tailKept)))
	_, _ = tl.Write([]byte("\npanic: why\n\ngoroutine 1\n" + strings.Repeat("y", 2*tailShown)))
	if s := tl.String(); !strings.HasPrefix(s, "panic: why\n") || len(s) != tailShown {
		t.Errorf("got %d bytes: %.40q", len(s), s)
	}
	if log.Len() < tailKept {
		t.Error("the log is not complete")
	}
	short := &tail{}
	_, _ = short.Write([]byte("last words"))
	if short.String() != "last words" {
		t.Errorf("got %q", short.String())
	}
}

func TestChildFailure(t *testing.T) {
	setup := &SetupError{Kind: SetupSnapshotter, Problem: "p", Hint: "h", Err: errors.New("c")}
	err := newChildFailure(setup).err()
	expectSetupError(t, err, SetupSnapshotter, "h")
	if err.Error() != "p: c" {
		t.Errorf("got %q", err)
	}
	if err := newChildFailure(errNoProc).err(); !errors.Is(err, errNoProc) {
		t.Errorf("got %v", err)
	}
	var child *ChildError
	if err := newChildFailure(errors.New("boom")).err(); !errors.As(err, &child) || child.Message != "boom" {
		t.Errorf("got %v", err)
	}
}

func TestSocketHasNoName(t *testing.T) {
	dir := filepath.Join(t.TempDir(), strings.Repeat("long", 40)) // longer than a socket address
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	s, err := newSocket(dir)
	if err != nil {
		t.Fatal(err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*")); len(left) != 0 {
		t.Errorf("left: %q", left)
	}
	for range 2 {
		conn, err := s.dial(t.Context()) // waits in the backlog
		if err != nil {
			t.Fatal(err)
		}
		conn.Close()
	}
	s.close()
	if conn, err := s.dial(t.Context()); err == nil {
		conn.Close()
		t.Error("a closed socket was reached")
	}
}

func TestChildMainReturnsInOrdinaryProcesses(*testing.T) { ChildMain() }
