package bases

import (
	"archive/tar"
	"context"
	"io"
	"os"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// pixiCrate is the newest pixi on crates.io. Later ones are only on GitHub; it
// reads manifests with a [project] table and lock files up to version 4.
func pixiCrate() crate {
	return crate{
		Name: "pixi", Version: "0.15.2", Features: "rustls-tls",
		SHA256:  "75a80be5621bc4e2814d5bde08c9057db8029a71ea82a8e843a607dd78724c8a",
		Updates: []string{"time@0.3.36"},
	}
}

// pixi puts pixi, compiled from its crate, where the real image has it. It is
// a static program, so that it also runs where it is mounted.
func pixi(from *recipe) *recipe {
	c := pixiCrate()
	name := "ghcr.io/prefix-dev/pixi:" + c.Version
	return &recipe{
		title: "pixi", names: []string{name, name + "-" + suite + "-slim"},
		slow: true, from: from, inputs: []any{c, rustTools()},
		make: func(ctx context.Context, k *kitchen, platform v1.Platform, base v1.Image) (v1.Image, error) {
			target := map[string]string{"amd64": "x86_64", "arm64": "aarch64"}[platform.Architecture] + "-unknown-linux-musl"
			program, err := k.build(ctx, c, target)
			if err != nil {
				return nil, err
			}
			layer, err := k.layer(func(write func(*tar.Header, io.Reader) error) error {
				f, err := os.Open(program)
				if err != nil {
					return err
				}
				defer f.Close()
				info, err := f.Stat()
				if err != nil {
					return err
				}
				return write(regular("usr/local/bin/pixi", 0o755, int(info.Size())), f)
			})
			if err != nil {
				return nil, err
			}
			return addition{
				platform: platform, layer: layer, createdBy: "pixi's crate",
				config: v1.Config{Env: []string{defaultPath}, Cmd: []string{"bash"}},
			}.add(base)
		},
	}
}
