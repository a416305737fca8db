package settings

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// Host is the machine as [Detect] sees it.
type Host interface {
	// Getenv is the value of an environment variable, "" when it is not set.
	Getenv(name string) string
	// ReadFile is the content of a file. Its error is fs.ErrNotExist when there is none.
	ReadFile(name string) ([]byte, error)
	// Glob lists the paths that match a pattern of path/filepath.
	Glob(pattern string) ([]string, error)
	// Run is the standard output of a command, named by its absolute path.
	Run(ctx context.Context, name string, args ...string) ([]byte, error)
}

// ThisHost is the machine that ibuild runs on.
func ThisHost() Host { return thisHost{} }

type thisHost struct{}

func (thisHost) Getenv(name string) string             { return os.Getenv(name) }
func (thisHost) ReadFile(name string) ([]byte, error)  { return readRegular(name) }
func (thisHost) Glob(pattern string) ([]string, error) { return filepath.Glob(pattern) }

func (thisHost) Run(ctx context.Context, name string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	cmd.WaitDelay = time.Second
	return cmd.Output()
}

// maxFile bounds files of other tools; a release file of apt's and a CA bundle have some hundred kB.
const maxFile = 8 << 20

// readRegular reads a file that is one: a variable can name a pipe that nobody writes to.
func readRegular(name string) ([]byte, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		return nil, errors.New("it is a folder")
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("it is not a regular file")
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(data) > maxFile {
		err = fmt.Errorf("it is larger than %d MB", maxFile>>20)
	}
	return data, err
}
