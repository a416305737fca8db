package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// machine is an ibuild with a cache and an engine of its own.
type machine struct {
	b    *bench
	dir  string
	host string // address of the builder; empty: the engine in ibuild's process
}

func (b *bench) machine(name, host string) machine {
	return machine{b, filepath.Join(b.dir, "machines", name), host}
}

// command builds and pushes. root is the folder of the engine's state.
func (m machine) command(root, image string, source ...string) *exec.Cmd {
	cmd := exec.CommandContext(m.b.ctx, m.b.ibuild, append([]string{"build", "--progress", "plain", "--push", "-t", image}, source...)...)
	cmd.Env = append(m.b.env.Environ(), "BUILDKIT_HOST="+m.host, "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME="+m.b.dir, "TMPDIR="+os.TempDir(),
		"IBUILD_ROOT="+root, "XDG_CACHE_HOME="+filepath.Join(m.dir, "cache"))
	return cmd
}

// plain is a command that needs no builder.
func (m machine) plain(args ...string) *exec.Cmd {
	cmd := exec.CommandContext(m.b.ctx, m.b.ibuild, args...)
	cmd.Env = append(m.b.env.Environ(), "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME="+m.b.dir, "TMPDIR="+os.TempDir(), "XDG_CACHE_HOME="+filepath.Join(m.dir, "cache"))
	return cmd
}

// prepare is a build that may start an engine.
func (m machine) prepare(image string, source ...string) error {
	_, err := timed(m.command(filepath.Join(m.dir, "engine"), image, source...))
	return err
}

// build is one that must not: it has a state folder that is not there, and is not there afterwards.
func (m machine) build(image string, source ...string) error {
	root := filepath.Join(m.dir, "no-engine")
	if _, err := timed(m.command(root, image, source...)); err != nil {
		return err
	}
	if _, err := os.Stat(root); err == nil {
		return fmt.Errorf("an engine was started for %s", image)
	}
	return nil
}

// known builds a source once, engine and all, and returns the side that builds it again.
func (m machine) known(repo string, source ...string) (side, error) {
	image := repo + ":ibuild"
	return side{name: "ibuild", image: image, run: func() error { return m.build(image, source...) }}, m.prepare(image, source...)
}

// forget makes the machine one that has never built anything.
func (m machine) forget() error { return os.RemoveAll(m.dir) }
