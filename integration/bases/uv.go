package bases

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// uvVersion is the release whose programs the image contains.
const uvVersion = "0.13.9"

// wheel is a package of PyPI for one platform, the one with static programs.
type wheel struct {
	Tag    string // as pip calls the platform
	SHA256 string
}

// uvWheels are pinned: a file that differs is refused.
func uvWheels() map[string]wheel {
	return map[string]wheel{
		"amd64": {"musllinux_1_1_x86_64", "2c45530751517d6c3bbc69a19473f6effe47cce047bede01ffd8af7ea7b36b25"},
		"arm64": {"musllinux_1_1_aarch64", "5435c5ce14a56431208ca0996416d310f1598e8c2c8ba707688985a16bb82dbe"},
	}
}

func uv() *recipe {
	const repository = "ghcr.io/astral-sh/uv:"
	return &recipe{
		title:  "uv",
		names:  []string{repository + uvVersion, repository + "0.13", repository + "latest"},
		inputs: []any{uvVersion, uvWheels()},
		make: func(ctx context.Context, k *kitchen, platform v1.Platform, _ v1.Image) (v1.Image, error) {
			data, err := k.download(ctx, "uv=="+uvVersion, uvWheels()[platform.Architecture])
			if err != nil {
				return nil, err
			}
			layer, err := k.layer(uvContents(data))
			if err != nil {
				return nil, err
			}
			return addition{
				platform: platform, layer: layer, createdBy: "uv's wheel on PyPI",
				config: v1.Config{
					Env: []string{defaultPath}, Entrypoint: []string{"/uv"}, WorkingDir: "/io",
				},
			}.add(nil)
		},
	}
}

// download fetches a wheel with pip, which knows the index that this machine
// uses, and checks that it is the pinned one.
func (k *kitchen) download(ctx context.Context, requirement string, w wheel) ([]byte, error) {
	dir := k.path(w.Tag)
	out, err := runToEnd(exec.CommandContext(ctx, "python3", "-m", "pip", "download", "--quiet", "--no-deps",
		"--only-binary=:all:", "--platform", w.Tag, "--dest", dir, requirement))
	if err != nil {
		return nil, fmt.Errorf("pip download %s: %w\n%s", requirement, err, lastLines(out, 10))
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.whl"))
	if err != nil || len(files) != 1 {
		return nil, fmt.Errorf("pip download %s: got %d files, want one wheel", requirement, len(files))
	}
	data, err := os.ReadFile(files[0])
	if err != nil {
		return nil, err
	}
	if sum := sha256.Sum256(data); hex.EncodeToString(sum[:]) != w.SHA256 {
		return nil, fmt.Errorf("%s has sha256 %x, want %s", filepath.Base(files[0]), sum, w.SHA256)
	}
	return data, nil
}

// uvContents takes the programs out of a wheel and puts them into the root
// folder, where the real image has them.
func uvContents(data []byte) contents {
	return func(write func(*tar.Header, io.Reader) error) error {
		archive, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
		if err != nil {
			return err
		}
		for _, program := range []string{"uv", "uvx"} {
			text, err := readZip(archive, ".data/scripts/"+program)
			if err != nil {
				return err
			}
			if err := write(regular(program, 0o755, len(text)), bytes.NewReader(text)); err != nil {
				return err
			}
		}
		return write(file{Name: "io/", Mode: 0o755}.header(), strings.NewReader(""))
	}
}

func readZip(archive *zip.Reader, suffix string) ([]byte, error) {
	for _, f := range archive.File {
		if !strings.HasSuffix(f.Name, suffix) {
			continue
		}
		r, err := f.Open()
		if err != nil {
			return nil, err
		}
		defer r.Close()
		return io.ReadAll(r)
	}
	return nil, fmt.Errorf("no %s in the wheel", suffix)
}
