//go:build integration && linux

package embed

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

const (
	testUser       = "ibuild-test"
	userScratchEnv = "IBUILD_TEST_SCRATCH" // a folder of the ordinary user
)

func TestMain(m *testing.M) {
	ChildMain()
	os.Exit(m.Run())
}

// asUser prepares a command that runs this test binary as an ordinary user, in a
// scratch folder of that user's.
func asUser(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("only root can become another user: run make test")
	}
	u, err := user.Lookup(testUser)
	if errors.As(err, new(user.UnknownUserError)) {
		if out, err := exec.Command("useradd", "--create-home", testUser).CombinedOutput(); err != nil {
			t.Fatalf("useradd: %v: %s", err, out)
		}
		u, err = user.Lookup(testUser)
	}
	if err != nil {
		t.Fatal(err)
	}
	uid, _ := strconv.Atoi(u.Uid)
	gid, _ := strconv.Atoi(u.Gid)
	// Not t.TempDir: the folders above it are closed to others.
	scratch, err := os.MkdirTemp("/var/tmp", "ibuild-user-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(scratch) })
	binary := filepath.Join(scratch, "embed.test")
	copyExecutable(t, "/proc/self/exe", binary)
	for _, p := range []string{scratch, binary} {
		if err := os.Chown(p, uid, gid); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(binary, args...)
	cmd.Dir = scratch
	cmd.Env = []string{"HOME=" + u.HomeDir, "USER=" + testUser, "PATH=/usr/local/bin:/usr/bin:/bin",
		"TMPDIR=" + scratch, userScratchEnv + "=" + scratch}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
	return cmd
}

func copyExecutable(t *testing.T, from, to string) {
	t.Helper()
	r, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	w, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(w, r); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestAsUser runs all the tests of the engine as an ordinary user.
func TestAsUser(t *testing.T) {
	cmd := asUser(t, "-test.run=^TestEngine", "-test.v="+strconv.FormatBool(testing.Verbose()))
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Error(err)
	}
}

// TestAsUserWithMaskedProc does so where /proc is masked, as in containers.
func TestAsUserWithMaskedProc(t *testing.T) {
	cmd := asUser(t)
	cred := cmd.SysProcAttr.Credential
	cmd.SysProcAttr = nil
	masked := exec.Command("unshare", "--mount", "sh", "-c", `mount --bind /dev/null /proc/uptime && exec "$@"`, "sh",
		"setpriv", "--reuid", strconv.Itoa(int(cred.Uid)), "--regid", strconv.Itoa(int(cred.Gid)), "--clear-groups",
		cmd.Path, "-test.run=^TestEngine(Builds|Cancel|Close|Killed)", "-test.v="+strconv.FormatBool(testing.Verbose()))
	masked.Dir, masked.Env = cmd.Dir, append(cmd.Env, "PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin")
	out, err := masked.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Error(err)
	}
}

// TestAsUserSetupErrors looks at what is said where a user namespace cannot be
// mapped. The probe of the snapshotter takes the same way as an engine.
func TestAsUserSetupErrors(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*exec.Cmd)
		want   string
	}{
		"no newuidmap":       {func(c *exec.Cmd) { c.Env = append(c.Env, "PATH=/nowhere") }, "idmap: apt install uidmap"},
		"no subordinate ids": {func(c *exec.Cmd) { *c.SysProcAttr.Credential = syscall.Credential{Uid: 54321, Gid: 54321} }, "idmap: usermod --add-subuids"},
	} {
		t.Run(name, func(t *testing.T) {
			cmd := asUser(t, "-test.run=^TestProbeForSetupErrors$", "-test.v=true")
			tc.change(cmd)
			if err := os.Chmod(cmd.Dir, 0o777); err != nil {
				t.Fatal(err)
			}
			cmd.Env = append(cmd.Env, setupErrorEnv+"="+tc.want)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

const setupErrorEnv = "IBUILD_TEST_SETUP_ERROR" // "kind: part of the hint"

func TestProbeForSetupErrors(t *testing.T) {
	kind, hint, ok := strings.Cut(os.Getenv(setupErrorEnv), ": ")
	if !ok {
		t.Skip("runs for TestAsUserSetupErrors only")
	}
	_, err := ChooseSnapshotter(t.Context(), stateFolder(t), "")
	expectSetupError(t, err, SetupKind(kind), hint)
}
