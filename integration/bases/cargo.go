package bases

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
)

// crate is a program on crates.io.
type crate struct {
	Name, Version string
	SHA256        string
	Features      string
	Updates       []string // dependencies of its lock file that today's compiler refuses, as name@version
}

// rustTools are the packages of PyPI with which cargo builds static programs
// for both platforms, whatever C compiler a machine has.
func rustTools() []string { return []string{"ziglang==0.17.1", "cargo-zigbuild==0.24.0"} }

// build compiles a crate's program for a target in cargo's words and returns
// its path. It is not optimised: that takes longer than all tests together
// can win back.
func (k *kitchen) build(ctx context.Context, c crate, target string) (string, error) {
	source, err := k.crateSource(ctx, c)
	if err != nil {
		return "", err
	}
	tools := k.path("rust-tools")
	args := append([]string{"-m", "pip", "install", "--quiet", "--target", tools}, rustTools()...)
	if err := k.run(ctx, "", nil, "python3", args...); err != nil {
		return "", err
	}
	if err := k.addTarget(ctx, target); err != nil {
		return "", err
	}
	for _, update := range c.Updates {
		name, version, _ := strings.Cut(update, "@")
		if err := k.run(ctx, source, nil, "cargo", "update", "--package", name, "--precise", version); err != nil {
			return "", err
		}
	}
	env := []string{
		"PATH=" + filepath.Join(tools, "bin") + ":" + os.Getenv("PATH"), "PYTHONPATH=" + tools,
		"CARGO_TARGET_DIR=" + k.path("rust-target"), "XDG_CACHE_HOME=" + k.path("rust-cache"),
		"CARGO_PROFILE_DEV_DEBUG=0", "CARGO_PROFILE_DEV_STRIP=symbols", "CARGO_INCREMENTAL=0",
	}
	return k.path("rust-target/" + target + "/debug/" + c.Name), k.run(ctx, source, env,
		"cargo", "zigbuild", "--locked", "--target", target, "--bin", c.Name, "--no-default-features", "--features", c.Features)
}

// crateSource fetches a crate with cargo, which knows the registry that this
// machine uses, checks that it is the pinned one, and unpacks it.
func (k *kitchen) crateSource(ctx context.Context, c crate) (string, error) {
	if err := k.run(ctx, k.dir, nil, "cargo", "info", "--quiet", c.Name+"@"+c.Version); err != nil {
		return "", err
	}
	home := os.Getenv("CARGO_HOME")
	if home == "" {
		user, err := os.UserHomeDir()
		if err != nil {
			return "", err
		}
		home = filepath.Join(user, ".cargo")
	}
	stem := c.Name + "-" + c.Version
	files, err := filepath.Glob(filepath.Join(home, "registry/cache/*", stem+".crate"))
	if err != nil || len(files) == 0 {
		return "", fmt.Errorf("cargo left no %s.crate in %s", stem, home)
	}
	data, err := os.ReadFile(files[0])
	if err != nil {
		return "", err
	}
	if sum := sha256.Sum256(data); hex.EncodeToString(sum[:]) != c.SHA256 {
		return "", fmt.Errorf("%s.crate has sha256 %x, want %s", stem, sum, c.SHA256)
	}
	return k.path(stem), unpackCrate(data, k.dir)
}

// unpackCrate writes the files of a crate below dir, but for the one by which
// it asks for an old compiler.
func unpackCrate(data []byte, dir string) error {
	compressed, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	for archive := tar.NewReader(compressed); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if header.Typeflag != tar.TypeReg || strings.HasPrefix(path.Base(header.Name), "rust-toolchain") {
			continue
		}
		text, err := io.ReadAll(archive)
		if err != nil {
			return err
		}
		if err := root.MkdirAll(path.Dir(header.Name), 0o755); err != nil {
			return err
		}
		if err := root.WriteFile(header.Name, text, 0o644); err != nil {
			return err
		}
	}
}

// addTarget installs Rust's standard library for a target if it is not there.
func (k *kitchen) addTarget(ctx context.Context, target string) error {
	out, err := exec.CommandContext(ctx, "rustc", "--print", "target-libdir", "--target", target).Output()
	if errors.Is(err, exec.ErrNotFound) {
		return errors.New("rustc is missing: run integration/deps.sh pixi")
	}
	if err != nil {
		return fmt.Errorf("rustc --print target-libdir: %w", err)
	}
	if _, err := os.Stat(strings.TrimSpace(string(out))); err == nil {
		return nil
	}
	return k.run(ctx, "", nil, "rustup", "target", "add", target)
}

// run runs a program to its end, in a folder and with variables on top of the
// environment.
func (k *kitchen) run(ctx context.Context, dir string, env []string, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), env...)
	out, err := runToEnd(cmd)
	if errors.Is(err, exec.ErrNotFound) {
		return fmt.Errorf("%s is missing: run integration/deps.sh pixi", name)
	}
	if err != nil {
		return fmt.Errorf("%s %s: %w\n%s", name, args[0], err, lastLines(out, 15))
	}
	return nil
}
