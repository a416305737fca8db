package embed

import (
	"bytes"
	"errors"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// usernsError explains why a user namespace could not be made or used. The
// kernel's own answer is nearly always "operation not permitted".
func usernsError(err error) error {
	e := &SetupError{Kind: SetupUserns, Err: err, Problem: "a user namespace could not be made",
		Hint: "User namespaces may be forbidden by a seccomp profile, as in most containers. Allow them there, or use a remote builder."}
	switch {
	case sysctlIs("kernel/unprivileged_userns_clone", "0"):
		e.Problem = "unprivileged user namespaces are disabled on this machine"
		e.Hint = "As root: sysctl -w kernel.unprivileged_userns_clone=1 (and put it in /etc/sysctl.d). Or use a remote builder."
	case sysctlIs("user/max_user_namespaces", "0") || errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EUSERS):
		e.Problem = "this machine allows no more user namespaces"
		e.Hint = "As root: sysctl -w user.max_user_namespaces=28633 (and put it in /etc/sysctl.d). Or use a remote builder."
	case sysctlIs("kernel/apparmor_restrict_unprivileged_userns", "1"):
		e.Problem = "AppArmor restricts unprivileged user namespaces on this machine (Ubuntu 23.10 and newer)"
		e.Hint = "As root: give ibuild an AppArmor profile with \"userns,\", or sysctl -w kernel.apparmor_restrict_unprivileged_userns=0. Or use a remote builder."
	}
	return e
}

func sysctlIs(name, value string) bool {
	b, err := os.ReadFile("/proc/sys/" + name)
	return err == nil && string(bytes.TrimSpace(b)) == value
}

// procMasked says that parts of /proc are covered by other mounts, as in
// containers. The kernel then refuses a fresh /proc in a user namespace, and
// with it a PID namespace for build steps.
func procMasked() bool {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return true
	}
	defer f.Close()
	return procMaskedIn(f)
}

func procMaskedIn(mountinfo io.Reader) bool {
	for _, m := range readMounts(mountinfo) {
		// binfmt_misc lies on an empty folder, which the kernel allows for.
		if isBelow(m.point, "/proc") && !strings.HasPrefix(m.point, "/proc/sys/fs/binfmt_misc") {
			return true
		}
	}
	return false
}
