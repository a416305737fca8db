//go:build linux

package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/ibuild/ibuild/runner/bootstrap/contract"
	"golang.org/x/sys/unix"
)

// uvPlaces are where uv is when PATH does not have it: where its installers put it.
var uvPlaces = []string{"/ibuild/uv", "/usr/local/bin/uv", "/opt/uv/uv", "/root/.local/bin/uv"}

// overlay is the folder, below the one for temporary files, that packages go to when the environment cannot be written.
const overlay = "ibuild-packages"

// install installs what the requirements file names, and returns nil, or how it has failed.
//
// It goes into the environment of the interpreter that the program will run with. Where that cannot be written (another
// user's, a read-only file system, one that the distribution manages), it goes into a folder for temporary files that
// comes first in PYTHONPATH; its programs come first in PATH. uv then installs all that is named with all that it
// needs, also what the environment has already.
func (c *container) install() *outcome {
	args, err := c.installer()
	if err != nil {
		say("%v", err)
		return &outcome{contract.Message{Phase: contract.PhaseInstall, Message: err.Error()}, contract.ExitBootstrap}
	}
	begin := time.Now()
	end, last, err := c.sup.runShown(args)
	if err == nil && end.status.Exited() && end.code() == 0 && !end.timedOut && !end.asked {
		say("installed in %.1f s", time.Since(begin).Seconds())
		return nil
	}
	o := &outcome{contract.Message{Phase: contract.PhaseInstall, ExitCode: end.code()}, contract.ExitBootstrap}
	words := ""
	switch {
	case err != nil:
		words = fmt.Sprintf("%s cannot be run: %v", args[0], err)
	case end.timedOut:
		o.Phase, o.exit = contract.PhaseTimeout, contract.ExitTimeout
		words = fmt.Sprintf("the time limit of %s was over before the packages were installed", c.Timeout)
	case end.asked:
		o.exit = contract.ExitSignal + int(unix.SIGTERM)
		words = "the pod was asked to end before the packages were installed"
	case end.status.Signaled():
		words = strings.Replace(end.words(), "the program", "the installer", 1)
	default:
		words = fmt.Sprintf("the packages of %s could not be installed: uv ended with %d", c.Install, end.code())
	}
	say("%s", words)
	if o.Message.Message = words; o.exit == contract.ExitBootstrap && strings.TrimSpace(last) != "" {
		o.Message.Message += ": " + strings.TrimSpace(last)
	}
	return o
}

// installer is the command that installs, and makes the environment that the program then needs.
func (c *container) installer() ([]string, error) {
	if _, err := os.Stat(c.Install); err != nil {
		return nil, fmt.Errorf("what is to be installed cannot be read: %w", err)
	}
	uv, err := findUV()
	if err != nil {
		return nil, err
	}
	py, err := findPython(c.Program[0])
	if err != nil {
		return nil, err
	}
	args := []string{uv, "pip", "install", "--python", py.file, "--requirements", c.Install}
	where := py.Folder
	if !py.writable() {
		if where, err = makeOverlay(); err != nil {
			return nil, fmt.Errorf("%s cannot be written, and neither can a folder for temporary files: %w; run as another user, or mount an emptyDir at /tmp", py.Folder, err)
		}
		args = append(args, "--target", where)
	}
	if !cacheWritable() {
		args = append(args, "--no-cache")
	}
	say("installing %s with uv for Python %s into %s", c.Install, py.Version, where)
	return args, setDefault("UV_PYTHON_DOWNLOADS", "never")
}

// findUV looks in PATH, and where uv's installers put it.
func findUV() (string, error) {
	if file, err := find("uv"); err == nil {
		return file, nil
	}
	for _, file := range append(uvPlaces, filepath.Join(os.Getenv("HOME"), ".local/bin/uv")) {
		if unix.Access(file, unix.X_OK) == nil && filepath.IsAbs(file) {
			return file, nil
		}
	}
	return "", fmt.Errorf("the image has no uv, which prebuilt mode installs with; base images of ibuild build-image have it, and other modes do without")
}

// makeOverlay makes the folder for packages, and has Python and PATH look there first.
func makeOverlay() (string, error) {
	folder, err := os.MkdirTemp("", overlay+"-") // not a known name: others may write there, too
	if err != nil {
		return "", err
	}
	return folder, errors.Join(prepend("PYTHONPATH", folder), prepend("PATH", filepath.Join(folder, "bin")))
}

func prepend(name, folder string) error {
	if old := os.Getenv(name); old != "" {
		folder += string(os.PathListSeparator) + old
	}
	return os.Setenv(name, folder)
}

func setDefault(name, value string) error {
	if _, ok := os.LookupEnv(name); ok {
		return nil
	}
	return os.Setenv(name, value)
}

// cacheWritable says that uv can make its cache. Where the user has no home, it would fail.
func cacheWritable() bool {
	if os.Getenv("UV_CACHE_DIR") != "" {
		return true // the user's business
	}
	folder := os.Getenv("XDG_CACHE_HOME")
	if folder == "" {
		folder = filepath.Join(os.Getenv("HOME"), ".cache")
	}
	return filepath.IsAbs(folder) && os.MkdirAll(folder, 0o700) == nil && unix.Access(folder, unix.W_OK) == nil
}

// keptOutput is how many bytes of an installer's last output are kept for the message.
const keptOutput = 3 << 10

// outputDelay is how long the end of a program's output is waited for after its own end.
const outputDelay = time.Second

// runShown runs a program whose output is shown as it comes, on standard error, and returns the end of it.
func (s *supervisor) runShown(args []string) (end ending, last string, err error) {
	r, w, err := os.Pipe()
	if err != nil {
		return end, "", err
	}
	defer r.Close()
	kept := make(chan string, 1)
	go func() { kept <- show(r, os.Stderr) }()
	end, err = s.run(args[0], args, w)
	_ = w.Close()
	_ = r.SetReadDeadline(time.Now().Add(outputDelay)) // something else may still hold the other end
	return end, <-kept, err
}

// show copies and returns the end of what was copied.
func show(r io.Reader, w io.Writer) string {
	var last []byte
	buf := make([]byte, 32<<10)
	for {
		n, err := r.Read(buf)
		_, _ = w.Write(buf[:n]) // nothing can be done about it
		last = append(last, buf[:n]...)
		last = last[max(0, len(last)-keptOutput):]
		if err != nil {
			return string(last)
		}
	}
}
