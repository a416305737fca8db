package bases

import (
	"context"
	"io"
	"os"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
)

// python puts Debian 12's Python, which is a 3.11, on top of debian, as the
// real image does with one that it compiles. The program is called python as
// well, and pip may install into the system's site folder, as there.
func python(from *recipe, sources []string) *recipe {
	return &recipe{
		title: "python",
		names: []string{
			"python:3.11-slim-" + suite, "python:3.11-slim", "python:3.11", "python:3.11-" + suite,
		},
		from:   from,
		inputs: pythonHooks(),
		make: func(ctx context.Context, k *kitchen, platform v1.Platform, base v1.Image) (v1.Image, error) {
			below := k.path("below.tar")
			if err := flatten(base, below); err != nil {
				return nil, err
			}
			options := []string{"--setup-hook=tar-in " + below + " /"}
			for _, hook := range pythonHooks() {
				options = append(options, "--customize-hook="+hook)
			}
			archive, err := bootstrap{platform: platform, variant: "custom", sources: sources, options: options}.run(ctx, k)
			if err != nil {
				return nil, err
			}
			lower, err := os.Open(below)
			if err != nil {
				return nil, err
			}
			defer lower.Close()
			layer, err := k.layer(difference(lower, func() (io.ReadCloser, error) { return os.Open(archive) }))
			if err != nil {
				return nil, err
			}
			return addition{
				platform: platform, layer: layer, createdBy: "Debian's python3.11",
				config: v1.Config{Env: []string{defaultPath, "LANG=C.UTF-8"}, Cmd: []string{"python3"}},
			}.add(base)
		},
	}
}

// pythonHooks are run by a shell with the root file system's folder as $1. The
// last one fails unless the image is what its tag says.
func pythonHooks() []string {
	return []string{
		`chroot "$1" apt-get update`,
		`chroot "$1" apt-get install --yes --no-install-recommends python3 python3-venv python3-pip netbase tzdata`,
		`rm "$1/usr/lib/python3.11/EXTERNALLY-MANAGED"`,
		`for name in python python3 python3.11; do ln -s /usr/bin/python3.11 "$1/usr/local/bin/$name"; done`,
		`for name in pip pip3; do ln -s /usr/bin/pip3 "$1/usr/local/bin/$name"; done`,
		`chroot "$1" /usr/local/bin/python -c 'import sys; assert sys.version_info[:2] == (3, 11), sys.version'`,
	}
}

// flatten writes an image's root file system to a file.
func flatten(image v1.Image, name string) error {
	out, err := os.Create(name)
	if err != nil {
		return err
	}
	defer out.Close()
	archive := mutate.Extract(image)
	defer archive.Close()
	if _, err := io.Copy(out, archive); err != nil {
		return err
	}
	return out.Close()
}
