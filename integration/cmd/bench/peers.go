package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// buildxPackage is the newest one when this was written; it speaks with the buildkitd that buildctl speaks with.
const buildxPackage = "github.com/docker/buildx/cmd/buildx@v0.38.2"

// best are the output options with which BuildKit is fastest: layers are compressed as little as gzip can.
const best = ",compression=gzip,compression-level=1"

// peers are the other programs. They share one warm daemon, but for buildah and crane, which need none.
type peers struct {
	buildx, crane, buildah string
	config                 string // folder of buildx's settings
}

// findPeers builds or finds the programs and tells buildx of the daemon.
func (b *bench) findPeers() (err error) {
	if err := b.findCrane(); err != nil {
		return err
	}
	if b.peers.buildah, err = exec.LookPath("buildah"); err != nil {
		return fmt.Errorf("%w; run integration/cmd/bench/deps.sh", err)
	}
	if b.peers.buildx, err = installed(b.ctx, buildxPackage); err != nil {
		return err
	}
	b.peers.config = filepath.Join(b.dir, "buildx")
	return b.exec(b.peers.buildx, "create", "--name", "warm", "--driver", "remote", b.daemon.addr)
}

func (b *bench) findCrane() (err error) {
	b.peers.crane, err = b.env.Tool(b.ctx, "crane")
	return err
}

// installed is a command of a Go module at a version, kept in the cache folder of the tests. The module of the
// tests' own tools has no place for it: its dependencies would change theirs.
func installed(ctx context.Context, pkg string) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	path, version, _ := strings.Cut(pkg, "@")
	name := filepath.Base(path)
	dir := filepath.Join(cache, "ibuild-test", "tools", name+"-"+version)
	program := filepath.Join(dir, name)
	if _, err := os.Stat(program); err == nil {
		return program, nil
	}
	fmt.Fprintf(os.Stderr, "building %s %s (once; it takes minutes)\n", name, version)
	cmd := exec.CommandContext(ctx, "go", "install", "-trimpath", "-ldflags=-s -w", pkg)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off", "GOBIN="+dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go install %s: %w\n%s", pkg, err, out)
	}
	return program, nil
}

// exec runs a peer to its end, without the settings of whoever runs the benchmarks.
func (b *bench) exec(program string, args ...string) error {
	cmd := exec.CommandContext(b.ctx, program, args...)
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=" + b.dir, "BUILDX_CONFIG=" + b.peers.config, "TMPDIR=" + os.TempDir(), "OTEL_TRACES_EXPORTER=none"}
	_, err := timed(cmd)
	return err
}

// viaBuildctl builds and pushes on a daemon.
func (b *bench) viaBuildctl(d *daemon, p project, dockerfile, image, output string) error {
	return b.exec(b.buildctl, "--addr", d.addr, "build", "--progress", "plain", "--frontend", "dockerfile.v0",
		"--local", "context="+p.context(), "--local", "dockerfile="+filepath.Dir(dockerfile),
		"--output", "type=image,push=true,name="+image+output)
}

// viaBuildx builds and pushes on the warm daemon.
func (b *bench) viaBuildx(p project, dockerfile, image, output string, flags ...string) error {
	args := append([]string{"build", "--builder", "warm", "-f", dockerfile, "--output", "type=image,push=true,name=" + image + output}, flags...)
	return b.exec(b.peers.buildx, append(args, p.context())...)
}

// viaBuildah builds and pushes with the layers that it has. The bases are pinned, so it need not ask for them.
func (b *bench) viaBuildah(p project, image string) error {
	storage := []string{"--root", filepath.Join(b.dir, "buildah"), "--runroot", filepath.Join(b.dir, "buildah-run"), "--storage-driver", "overlay"}
	build := append(storage, "build", "--layers", "--isolation", "chroot", "--pull=false", "--tls-verify=false", "-t", image, "-f", p.dockerfile(), p.context())
	if err := b.exec(b.peers.buildah, build...); err != nil {
		return err
	}
	return b.exec(b.peers.buildah, append(storage, "push", "--tls-verify=false", image)...)
}

// mountPoints is what a RUN of buildah leaves in an image: what it mounts files of the host on.
func mountPoints() []string { return []string{"etc/hostname", "etc/hosts", "etc/resolv.conf", "run"} }

// onDaemon are the sides that build with the warm daemon, as most people call them and with their best flags.
// The goal is against buildctl.
func (b *bench) onDaemon(p project, image string, goal goal) []side {
	quick := []string{"--provenance=false", "--sbom=false", "--progress=quiet"}
	return []side{
		{name: "buildctl", image: image + ":buildctl", goal: goal, run: func() error {
			return b.viaBuildctl(b.daemon, p, p.dockerfile(), image+":buildctl", "")
		}},
		{name: "buildctl, best flags", image: image + ":buildctl-best", goal: goal, run: func() error {
			return b.viaBuildctl(b.daemon, p, p.linked(), image+":buildctl-best", best)
		}},
		{name: "buildx", image: image + ":buildx", run: func() error {
			return b.viaBuildx(p, p.dockerfile(), image+":buildx", "")
		}},
		{name: "buildx, best flags", image: image + ":buildx-best", run: func() error {
			return b.viaBuildx(p, p.linked(), image+":buildx-best", best, quick...)
		}},
	}
}
