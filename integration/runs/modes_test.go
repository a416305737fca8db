//go:build integration

package runs

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// seen prints what it has installed, and the devices that its host gave to it.
const seen = `import importlib.metadata, os
try:
    version = importlib.metadata.version("ibuild-private-hello")
except importlib.metadata.PackageNotFoundError:
    version = "none"
devices = os.environ.get("NVIDIA_VISIBLE_DEVICES") or os.environ.get("TPU_VISIBLE_CHIPS") or ""
print("package", version, "devices", len([d for d in devices.split(",") if d]))
`

// bases publishes small base images for prebuilt mode: JAX for GPUs alone is 3 GB, and no program here needs it.
func bases(t *testing.T) {
	t.Helper()
	file := write(t, "base.Dockerfile", "FROM "+python+"\nCOPY --from=ghcr.io/astral-sh/uv:0.13.9 /uv /usr/local/bin/uv\n")
	ibuild(t, "build-image", "--repo", shared.env.Registry.Addr+"/bases", "--dockerfile", file, "--tag", "t1", "--yes").expect(t, 0)
}

// TestModes runs one program in each mode on each kind of accelerator: on all hosts, with all devices of each, and with
// what the mode installs. Devices land where they are: the hosts' names say it.
func TestModes(t *testing.T) {
	bases(t)
	index := shared.env.Sites.Open.Index()
	program := write(t, "seen.py", seen)
	requirements := "--index-url " + index + "\nibuild-private-hello==1.0\n"
	if err := os.WriteFile(filepath.Join(filepath.Dir(program), "requirements.txt"), []byte(requirements), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, m := range []struct {
		mode    string
		version string
		args    []string
	}{
		{"bundled", "1.0", []string{"--python", "3.11"}},
		{"prebuilt", "1.0", []string{"--mode", "prebuilt", "--base-image-tag", "t1"}},
		{"custom", "none", []string{"--image", shared.env.Registry.Addr + "/library/" + python}},
	} {
		for _, a := range []struct {
			accelerator string
			hosts       int
			devices     string
			on          string // beginning of the nodes' names
		}{
			{"cpu", 1, "0", "gke-ibuild-cpu-0"},
			{"l4", 1, "1", "gke-ibuild-l4-0"},
			{"a100x4", 1, "4", "gke-ibuild-a100x4-0"},
			{"v5e-4", 1, "4", "gke-ibuild-v5e-0"},
			{"v5e-16", 4, "4", "gke-ibuild-v5e-4x4-"},
		} {
			t.Run(m.mode+"/"+a.accelerator, func(t *testing.T) {
				o := ibuild(t, append(append([]string{"run", "-a", a.accelerator}, m.args...), program)...)
				o.expect(t, 0, a.on)
				if n := strings.Count(o.out, "package "+m.version+" devices "+a.devices+"\n"); n != a.hosts {
					t.Errorf("%d hosts have what they should, of %d", n, a.hosts)
				}
			})
		}
	}
}

// TestInstallerFails: what the installer says reaches who waits, when the pod's packages cannot be installed.
func TestInstallerFails(t *testing.T) {
	bases(t)
	program := write(t, "seen.py", seen)
	if err := os.WriteFile(filepath.Join(filepath.Dir(program), "requirements.txt"), []byte("--index-url "+shared.env.Sites.Open.Index()+"\nno-such-package-of-ibuild==1\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	ibuild(t, "run", "--mode", "prebuilt", "--base-image-tag", "t1", program).expect(t, 125, "no-such-package-of-ibuild", "installing the dependencies failed")
}
