package kube

import (
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/ibuild/ibuild/integration/gotool"
	"github.com/ibuild/ibuild/integration/testenv"
)

const (
	kubernetesModule  = "integration/kubernetes"
	hyperkubePackage  = "github.com/ibuild/ibuild/integration/kubernetes/hyperkube"
	kubernetesVersion = "v1.34.4" // of k8s.io/kubernetes in that module's go.mod
	versionVariable   = "k8s.io/component-base/version.gitVersion"
)

// cniFolder is where the OS package has the plugins for networks.
const cniFolder = "/usr/lib/cni"

// programs are what a cluster runs.
type programs struct {
	hyperkube  string // all parts of Kubernetes
	containerd string
	nsenter    string
	busybox    string // what pods are held together with
}

// findPrograms builds Kubernetes, if no run before has, and finds the programs
// of OS packages.
func findPrograms(ctx context.Context, cache string, log io.Writer) (p programs, err error) {
	for name, file := range map[string]*string{"containerd": &p.containerd, "nsenter": &p.nsenter, "busybox": &p.busybox} {
		if *file, err = exec.LookPath(name); err != nil {
			return p, &testenv.MissingError{What: name, Hint: "run integration/deps.sh"}
		}
	}
	for _, file := range []string{filepath.Join(cniFolder, "ptp"), filepath.Join(cniFolder, "host-local")} {
		if _, err := os.Stat(file); err != nil {
			return p, &testenv.MissingError{What: file, Hint: "run integration/deps.sh"}
		}
	}
	cwd, err := os.Getwd()
	if err != nil {
		return p, err
	}
	module, err := gotool.FindModule(cwd, kubernetesModule)
	if err != nil {
		return p, err
	}
	if cache == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			return p, &testenv.MissingError{What: "a cache folder", Hint: "set HOME or XDG_CACHE_HOME"}
		}
		cache = filepath.Join(user, "ibuild-test")
	}
	tools := gotool.Builder{
		Module: module, Cache: filepath.Join(cache, "tools"), Log: log,
		Variables: []string{versionVariable + "=" + kubernetesVersion},
	}
	p.hyperkube, err = tools.Build(ctx, hyperkubePackage)
	return p, err
}
