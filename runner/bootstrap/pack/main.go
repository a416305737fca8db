// Command pack builds the bootstrap for each architecture and writes it, compressed, to where package bootstrap embeds
// it. It is run by go generate in the folder of that package, and changes no file that would stay the same.
//
// The same source gives the same bytes, on any machine with the same Go: no paths, no version, no build id.
package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/ibuild/ibuild/runner/bootstrap"
	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
)

func main() {
	if err := packAll("programs"); err != nil {
		fmt.Fprintln(os.Stderr, "pack:", err)
		os.Exit(1)
	}
}

func packAll(folder string) error {
	temp, err := os.MkdirTemp("", "ibuild-pack-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(temp)
	for _, arch := range bootstrap.Architectures() {
		data, err := build(filepath.Join(temp, arch), arch)
		if err != nil {
			return err
		}
		name := filepath.Join(folder, "linux-"+arch)
		if err := errors.Join(pack(name+".zst", data), replace(name+".digest", []byte(digest.FromBytes(data)+"\n"))); err != nil {
			return err
		}
	}
	return nil
}

// build returns the program for an architecture.
func build(to, arch string) ([]byte, error) {
	cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w -buildid=", "-o", to, "./program")
	// What changes the program from machine to machine is set here: GOFLAGS, and the level of the instruction set.
	cmd.Env = append(os.Environ(), "GOOS=linux", "GOARCH="+arch, "CGO_ENABLED=0", "GOAMD64=v1", "GOARM64=v8.0", "GOFLAGS=", "GOEXPERIMENT=")
	cmd.Stderr = os.Stderr
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("build for %s: %w", arch, err)
	}
	return os.ReadFile(to)
}

func pack(name string, data []byte) error {
	w, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedBestCompression))
	if err != nil {
		return err
	}
	defer w.Close()
	return replace(name, w.EncodeAll(data, nil))
}

// replace writes a file, unless it says that already: then its time stays, and nothing is built because of it.
func replace(name string, data []byte) error {
	old, err := os.ReadFile(name)
	if err == nil && bytes.Equal(old, data) {
		return nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.WriteFile(name, data, 0o644)
}
