package embed

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// sbinFolders are where distributions install runc; an ordinary user's PATH
// often lacks them.
func sbinFolders() []string { return []string{"/usr/local/sbin", "/usr/sbin", "/sbin"} }

const runtimeHint = "Install runc 1.1 or newer (Debian, Ubuntu: apt install runc; Fedora: dnf install runc), or name another OCI runtime."

func findRuntime(name string) (Runtime, error) {
	path, err := lookRuntime(name, sbinFolders())
	if err != nil {
		return Runtime{}, err
	}
	return checkRuntime(path)
}

// lookRuntime returns the absolute path of the runtime.
func lookRuntime(name string, extra []string) (string, error) {
	names := []string{name}
	if name == "" {
		names = []string{"buildkit-runc", "runc"}
	}
	for _, n := range names {
		if p, err := exec.LookPath(n); err == nil {
			return filepath.Abs(p)
		}
		if strings.ContainsRune(n, '/') {
			continue
		}
		for _, dir := range extra {
			if p, err := exec.LookPath(filepath.Join(dir, n)); err == nil {
				return p, nil
			}
		}
	}
	return "", &SetupError{Kind: SetupRuntime,
		Problem: fmt.Sprintf("the OCI runtime %s was not found in PATH, %s", strings.Join(names, " or "), strings.Join(extra, ", ")),
		Hint:    runtimeHint}
}

// checkRuntime asks the runtime for its version and refuses one that lacks
// "run --keep", without which BuildKit cannot use it.
func checkRuntime(path string) (Runtime, error) {
	out, err := runtimeOutput(path, "--version")
	if err != nil {
		return Runtime{}, &SetupError{Kind: SetupRuntime, Err: err,
			Problem: fmt.Sprintf("the OCI runtime %s does not run", path), Hint: runtimeHint}
	}
	rt := parseRuntimeVersion(out)
	rt.Path = path
	old := rt.Name == "runc" && olderThan(rt.Version, 1, 1)
	if rt.Name != "runc" {
		// Other runtimes count their versions differently: look for the option.
		help, err := runtimeOutput(path, "run", "--help")
		old = err == nil && !bytes.Contains(help, []byte("--keep")) && !bytes.Contains(help, []byte("-keep"))
	}
	if old {
		return rt, &SetupError{Kind: SetupRuntime,
			Problem: fmt.Sprintf("%s %s at %s is too old: it has no \"run --keep\"", rt.Name, rt.Version, path),
			Hint:    runtimeHint}
	}
	return rt, nil
}

func runtimeOutput(path string, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = append(os.Environ(), "GOMAXPROCS=1") // runc is a Go program too
	out, err := cmd.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) && len(exit.Stderr) > 0 {
		err = fmt.Errorf("%w: %s", err, bytes.TrimSpace(exit.Stderr))
	}
	return out, err
}

// parseRuntimeVersion reads "runc version 1.1.5+ds1" and "crun version 1.8.1".
func parseRuntimeVersion(out []byte) Runtime {
	line, _, _ := strings.Cut(string(out), "\n")
	name, version, _ := strings.Cut(line, " version ")
	return Runtime{Name: strings.TrimSpace(name), Version: strings.TrimSpace(version)}
}

// olderThan compares the first two numbers of a version. A version that cannot
// be read is not called old: a development build should not be refused.
func olderThan(version string, major, minor int) bool {
	var have [2]int
	for i, part := range strings.SplitN(version, ".", 3) {
		if i == len(have) {
			break
		}
		n, err := strconv.Atoi(part)
		if err != nil {
			return false
		}
		have[i] = n
	}
	return have[0] < major || have[0] == major && have[1] < minor
}
