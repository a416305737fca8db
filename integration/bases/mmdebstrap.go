package bases

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// suite is the Debian release that the images are made of.
const suite = "bookworm"

// bootstrap is one run of mmdebstrap.
type bootstrap struct {
	platform v1.Platform
	variant  string
	sources  []string // lines of a sources.list; none for the public mirrors
	include  []string // packages
	options  []string // further options, such as hooks, in their order
}

// run makes the root file system and returns its archive.
func (b bootstrap) run(ctx context.Context, k *kitchen) (string, error) {
	if b.platform.Architecture != runtime.GOARCH {
		if err := canEmulate(b.platform); err != nil {
			return "", err
		}
	}
	archive := k.path(b.variant + ".tar")
	args := []string{
		"--variant=" + b.variant, "--architectures=" + b.platform.Architecture,
		"--skip=output/dev", "--quiet",
	}
	if len(b.include) > 0 {
		args = append(args, "--include="+strings.Join(b.include, ","))
	}
	args = append(append(args, b.options...), suite, archive)
	if len(b.sources) > 0 {
		args = append(args, "-") // from stdin
	}
	cmd := exec.CommandContext(ctx, "mmdebstrap", args...)
	cmd.Stdin = strings.NewReader(strings.Join(b.sources, "\n") + "\n")
	cmd.Env = append(os.Environ(),
		fmt.Sprintf("SOURCE_DATE_EPOCH=%d", epoch().Unix()), "TMPDIR="+k.dir,
		"DEBIAN_FRONTEND=noninteractive", "LC_ALL=C.UTF-8")
	out, err := runToEnd(cmd)
	if errors.Is(err, exec.ErrNotFound) {
		return "", fmt.Errorf("mmdebstrap is missing: run integration/deps.sh")
	}
	if err != nil {
		return "", fmt.Errorf("mmdebstrap: %w\n%s", err, lastLines(out, 15))
	}
	return archive, nil
}

// runToEnd runs a program that cleans up behind itself when it is asked to
// end, and returns its output. The program is also asked when this process is
// killed; the kernel ties that to the thread, which therefore stays.
func runToEnd(cmd *exec.Cmd) ([]byte, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 30 * time.Second
	return cmd.CombinedOutput()
}

// canEmulate says how to get an emulator that is not there; mmdebstrap's own
// words for that are hard to read.
func canEmulate(p v1.Platform) error {
	names := map[string]string{"arm64": "aarch64", "amd64": "x86_64"}
	if _, err := os.Stat("/proc/sys/fs/binfmt_misc/qemu-" + names[p.Architecture]); err != nil {
		return fmt.Errorf("this machine cannot run programs for %s: run integration/deps.sh", p)
	}
	return nil
}

func lastLines(out []byte, n int) string {
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	if len(lines) > n {
		lines = lines[len(lines)-n:]
	}
	return strings.Join(lines, "\n")
}

// archiveContents is all of a root file system's archive.
func archiveContents(archive string) contents {
	return func(write func(*tar.Header, io.Reader) error) error {
		f, err := os.Open(archive)
		if err != nil {
			return err
		}
		defer f.Close()
		return walk(bufio.NewReader(f), write)
	}
}

// debianSources are the lines of a sources.list by which this machine's own
// apt reaches the suite. There are none on a machine that runs something else,
// where mmdebstrap then uses Debian's public mirrors.
func debianSources() []string {
	out, err := exec.Command("apt-get", "indextargets",
		"--format", "$(ORIGIN) $(CODENAME) deb $(REPO_URI) $(RELEASE) $(COMPONENT)", "Created-By: Packages").Output()
	if err != nil {
		return nil
	}
	return parseSources(out)
}

// parseSources picks the lines of the suite and joins their components.
func parseSources(targets []byte) []string {
	var lines []string
	components := map[string][]string{}
	for raw := range bytes.Lines(targets) {
		fields := strings.Fields(string(raw))
		if len(fields) != 6 || fields[0] != "Debian" || !ofSuite(fields[1]) {
			continue
		}
		line := strings.Join(fields[2:5], " ")
		if components[line] == nil {
			lines = append(lines, line)
		}
		components[line] = append(components[line], fields[5])
	}
	for i, line := range lines {
		lines[i] = line + " " + strings.Join(components[line], " ")
	}
	return lines
}

// ofSuite leaves backports and the like out.
func ofSuite(codename string) bool {
	switch codename {
	case suite, suite + "-updates", suite + "-security":
		return true
	}
	return false
}
