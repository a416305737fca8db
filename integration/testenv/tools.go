package testenv

import (
	"context"
	"fmt"
	"path"
	"path/filepath"
)

// toolsModule pins the programs below.
const toolsModule = "integration/tools"

const (
	registryPackage    = "github.com/distribution/distribution/v3/cmd/registry"
	rootlesskitPackage = "github.com/rootless-containers/rootlesskit/v2/cmd/rootlesskit"
	buildkitdPackage   = "github.com/moby/buildkit/cmd/buildkitd"
	buildctlPackage    = "github.com/moby/buildkit/cmd/buildctl"
	cranePackage       = "github.com/google/go-containerregistry/cmd/crane"
)

// Tool returns the path of a program of integration/tools, such as "crane" or
// "buildctl", that all users can run. It is built on first use.
func (e *Env) Tool(ctx context.Context, name string) (string, error) {
	for _, pkg := range []string{registryPackage, rootlesskitPackage, buildkitdPackage, buildctlPackage, cranePackage} {
		if path.Base(pkg) == name {
			program, err := e.tools.Build(ctx, pkg)
			if err != nil {
				return "", err
			}
			return e.Install(program)
		}
	}
	return "", fmt.Errorf("no tool %q in %s", name, toolsModule)
}

// Install makes a program available to all users, whatever folder it is in,
// and returns its path. It is on the PATH of Env.Command then.
func (e *Env) Install(program string) (string, error) {
	installed := filepath.Join(e.binDir, filepath.Base(program))
	return installed, link(program, installed)
}
