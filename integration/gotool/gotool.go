// Package gotool builds the commands that a Go module declares with tool
// directives, once, and keeps the binaries in a cache folder.
//
// The tests use it for programs that no package manager of a test machine has
// in the wanted version: buildkitd, the registry, rootlesskit.
package gotool

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/gofrs/flock"
)

// lockRetry is how often a process looks whether another one that builds the
// same tool has finished.
const lockRetry = 200 * time.Millisecond

// Builder builds commands of one Go module.
type Builder struct {
	Module string    // folder with the go.mod that pins the tools
	Cache  string    // folder for the binaries, one subfolder per key
	Log    io.Writer // told what is built and how long it took; nil for silence

	// Variables are set by the linker, each as PACKAGE.NAME=value: what a
	// program's own build script would tell it, such as its version.
	Variables []string
}

// Build returns the path of the command that the package pkg makes. It is
// built if no process has done so before with the same versions, Go release
// and flags. Processes that ask at the same time build it once.
func (b Builder) Build(ctx context.Context, pkg string) (string, error) {
	key, err := b.key(ctx)
	if err != nil {
		return "", err
	}
	dir := filepath.Join(b.Cache, key)
	target := filepath.Join(dir, path.Base(pkg))
	if exists(target) {
		return target, nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	lock := flock.New(target + ".lock")
	if _, err := lock.TryLockContext(ctx, lockRetry); err != nil {
		return "", fmt.Errorf("wait for another build of %s: %w", path.Base(pkg), err)
	}
	defer lock.Close()
	if exists(target) {
		return target, nil
	}
	return target, b.build(ctx, pkg, target)
}

// build compiles into a temporary folder first, so that a killed build never
// leaves half a binary under the final name.
func (b Builder) build(ctx context.Context, pkg, target string) error {
	temp, err := os.MkdirTemp(filepath.Dir(target), ".build-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(temp)

	b.logf("building %s (once; a cold build takes minutes)", path.Base(pkg))
	begin := time.Now()
	built := filepath.Join(temp, path.Base(pkg))
	args := append(append([]string{"build"}, b.flags()...), "-o", built, pkg)
	if out, err := b.run(ctx, args...); err != nil {
		return fmt.Errorf("build %s: %w\n%s", pkg, err, bytes.TrimSpace(out))
	}
	if err := os.Rename(built, target); err != nil {
		return err
	}
	b.logf("built %s in %s", path.Base(pkg), time.Since(begin).Round(100*time.Millisecond))
	return nil
}

// flags make small static binaries without paths of this machine.
func (b Builder) flags() []string {
	linker := "-ldflags=-s -w"
	for _, v := range b.Variables {
		linker += " -X " + v
	}
	return []string{"-trimpath", "-buildvcs=false", linker}
}

// key is the digest of everything that decides what the binaries are.
func (b Builder) key(ctx context.Context) (string, error) {
	release, err := b.run(ctx, "env", "GOVERSION", "GOOS", "GOARCH")
	if err != nil {
		return "", fmt.Errorf("ask go for its version: %w\n%s", err, bytes.TrimSpace(release))
	}
	sum := sha256.New()
	own, err := filepath.Glob(filepath.Join(b.Module, "*", "*.go")) // commands of the module itself
	if err != nil {
		return "", err
	}
	names := []string{"go.mod", "go.sum"}
	for _, name := range own {
		rel, err := filepath.Rel(b.Module, name)
		if err != nil {
			return "", err
		}
		names = append(names, rel)
	}
	for _, name := range names {
		data, err := os.ReadFile(filepath.Join(b.Module, name))
		if err != nil {
			return "", err
		}
		fmt.Fprintf(sum, "%s %d\n%s", name, len(data), data)
	}
	fmt.Fprintf(sum, "%s%s CGO_ENABLED=0", release, strings.Join(b.flags(), " "))
	return hex.EncodeToString(sum.Sum(nil))[:16], nil
}

func (b Builder) run(ctx context.Context, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = b.Module
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off")
	return cmd.CombinedOutput()
}

func (b Builder) logf(format string, args ...any) {
	if b.Log != nil {
		fmt.Fprintf(b.Log, format+"\n", args...)
	}
}

// FindModule walks up from the folder start to the checkout that holds the
// module in the folder rel, such as "integration/tools", and returns that
// module's folder.
func FindModule(start, rel string) (string, error) {
	for dir := start; ; dir = filepath.Dir(dir) {
		module := filepath.Join(dir, rel)
		if exists(filepath.Join(module, "go.mod")) {
			return module, nil
		}
		if dir == filepath.Dir(dir) {
			return "", fmt.Errorf("no %s above %s: run this inside the checkout", rel, start)
		}
	}
}

func exists(name string) bool {
	_, err := os.Stat(name)
	return err == nil
}
