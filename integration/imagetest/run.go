package imagetest

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/pkg/archive"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/containerd/v2/pkg/oci"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// RunOptions changes how an image is run, as the arguments of docker run do.
type RunOptions struct {
	Entrypoint []string // in place of the image's entrypoint and command
	Args       []string // in place of the image's command
	Env        []string // on top of the image's environment
	User       string   // in place of the image's user
	Stdin      string
}

// Result is what a program did.
type Result struct {
	Stdout   string
	Stderr   string
	ExitCode int
}

// Run unpacks an image and runs it with runc by its own config, on the host's
// network, until it ends. It needs root. An exit code other than 0 is no error.
func Run(ctx context.Context, img v1.Image, o RunOptions) (result Result, err error) {
	dir, err := os.MkdirTemp("", "ibuild-run-")
	if err != nil {
		return Result{}, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	err = viewIn(ctx, dir, img, func(root string) (err error) {
		result, err = runOn(ctx, dir, root, img, o)
		return err
	})
	return result, err
}

// runOn runs an image that is unpacked in root, with the bundle in dir.
func runOn(ctx context.Context, dir, root string, img v1.Image, o RunOptions) (Result, error) {
	file, err := img.ConfigFile()
	if err != nil {
		return Result{}, err
	}
	spec, err := runtimeSpec(ctx, root, file, o)
	if err != nil {
		return Result{}, err
	}
	text, err := json.Marshal(spec)
	if err != nil {
		return Result{}, err
	}
	if err := os.WriteFile(filepath.Join(dir, "config.json"), text, 0o600); err != nil {
		return Result{}, err
	}
	return runBundle(ctx, dir, o.Stdin)
}

// Unpack applies an image's layers to the folder root, which it makes. It
// needs root.
func Unpack(ctx context.Context, img v1.Image, root string) error {
	if err := os.Mkdir(root, 0o755); err != nil {
		return err
	}
	layers, err := img.Layers()
	if err != nil {
		return err
	}
	for i, layer := range layers {
		content, err := layer.Uncompressed()
		if err == nil {
			err = apply(ctx, root, content)
		}
		if err != nil {
			return fmt.Errorf("layer %d: %w", i, err)
		}
	}
	return nil
}

func applyFile(ctx context.Context, root, name string) error {
	file, err := os.Open(name)
	if err != nil {
		return err
	}
	return apply(ctx, root, file)
}

// apply unpacks an archive on top of what is in root, and closes it.
func apply(ctx context.Context, root string, content io.ReadCloser) error {
	_, err := archive.Apply(ctx, root, content)
	return errors.Join(err, content.Close())
}

// runtimeSpec turns an image's config into what runc reads.
func runtimeSpec(ctx context.Context, rootfs string, file *v1.ConfigFile, o RunOptions) (*specs.Spec, error) {
	args := commandLine(file.Config, o)
	if len(args) == 0 {
		return nil, errors.New("the image has no command, and none was given")
	}
	ctx = namespaces.WithNamespace(ctx, "imagetest")
	container := &containers.Container{ID: "imagetest-" + rand.Text()}
	options := []oci.SpecOpts{
		oci.WithRootFSPath(rootfs),
		oci.WithProcessArgs(args...),
		oci.WithDefaultPathEnv,
		oci.WithEnv(append(file.Config.Env, o.Env...)),
		oci.WithHostNamespace(specs.NetworkNamespace),
		oci.WithCgroup(""), // below our own, where runc leaves nothing behind
		oci.WithHostHostsFile,
		oci.WithHostResolvconf,
		oci.WithProcessCwd(cmp.Or(file.Config.WorkingDir, "/")),
	}
	if user := cmp.Or(o.User, file.Config.User); user != "" {
		options = append(options, oci.WithUser(user))
	}
	return oci.GenerateSpec(ctx, nil, container, options...)
}

// commandLine joins entrypoint and command as container engines do: a new
// entrypoint does not get the image's command.
func commandLine(config v1.Config, o RunOptions) []string {
	if o.Entrypoint != nil {
		return append(o.Entrypoint[:len(o.Entrypoint):len(o.Entrypoint)], o.Args...)
	}
	command := config.Cmd
	if o.Args != nil {
		command = o.Args
	}
	return append(config.Entrypoint[:len(config.Entrypoint):len(config.Entrypoint)], command...)
}

// runBundle runs what is in dir and removes what runc keeps about it, also
// when ctx ends first.
func runBundle(ctx context.Context, dir, stdin string) (Result, error) {
	id := filepath.Base(dir)
	state := filepath.Join(dir, "state")
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, "runc", "--root", state, "run", "--bundle", dir, id)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &stdout, &stderr
	cmd.Cancel = func() error {
		return exec.Command("runc", "--root", state, "delete", "--force", id).Run()
	}
	cmd.WaitDelay = 10 * time.Second
	err := cmd.Run()
	result := Result{Stdout: stdout.String(), Stderr: stderr.String(), ExitCode: cmd.ProcessState.ExitCode()}
	if ctx.Err() != nil {
		return result, ctx.Err()
	}
	if errors.As(err, new(*exec.ExitError)) {
		return result, nil
	}
	return result, err
}
