//go:build integration

package e2e

import (
	"bytes"
	"debug/elf"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/ibuild/ibuild/integration/imagetest"
)

// nativeSpec has all that a native step may meet: what OS packages, a user's command and a file of the image
// have left, requirements with hashes, a secret, and a package that is there already.
const nativeSpec = `python_version: "3.11"
layers:
  - pip: {packages: [numpy==2.2.6, pyyaml, charset-normalizer], wheels_only: true}
  - apt: [jq]
  - run: mkdir -p /etc/uv && printf 'constraint-dependencies = ["rich<14"]\n' > /etc/uv/uv.toml
  - requirements: requirements.txt
  - pip: {packages: [rich, pandas], secrets: [{id: UV_EXCLUDE_NEWER}]}
  - pip: [rich]
  - env: {MODE: native}
entrypoint: [python, -c, "import numpy, pandas, yaml, markupsafe._speedups, platform, rich; from importlib.metadata import version as v; print(platform.machine(), v('numpy'), v('rich'), yaml.__with_libyaml__, int(numpy.arange(4).sum()))"]
`

// nativeRequirements has the digest of the wheel for arm64 alone.
const nativeRequirements = `markupsafe==3.0.2 --hash=sha256:2cb8438c3cbb25e220c2ab33bb226559e7afb3baec11c4f218ffa7308603c832
`

// TestNativePython builds an image for another platform with every engine: no Python step is emulated, and the
// files are those of the emulated build.
func TestNativePython(t *testing.T) {
	dir := files(t, "image.yaml", nativeSpec, "requirements.txt", nativeRequirements, "secret", "2025-06-01T00:00:00Z")
	build := func(t *testing.T, e engine, flags ...string) (outcome, v1.Image) {
		ref := shared.env.Registry.Ref("native/" + path.Base(t.Name())) // one's own: an environment that is there is not made again
		args := append([]string{"build", "--progress", "plain", "--platform", arm64, "--push", "-t", ref,
			"--secret", "id=UV_EXCLUDE_NEWER,src=" + filepath.Join(dir, "secret")}, flags...)
		return e.ibuild(t, append(args, dir)...), pull(t, ref, arm64)
	}
	var all agreement
	t.Run("emulated", func(t *testing.T) {
		t.Parallel()
		o, img := build(t, engineNamed(t, "root").fresh(t), "--emulate")
		if strings.Contains(o.stderr, "natively") {
			t.Errorf("emulation was asked for:\n%s", o.stderr)
		}
		all.add(t, img, arm64, func() {})
		ofPlatform(t, img, elf.EM_AARCH64, 3)
	})
	enginesAtOnce(t, engines(t), func(t *testing.T, e engine) {
		o, img := build(t, e.fresh(t))
		if n := strings.Count(o.stderr, ", natively\n"); n < 5 || strings.Contains(o.stderr, "with emulation") {
			t.Errorf("%d lines are about native steps:\n%s", n, o.stderr)
		}
		all.add(t, img, arm64, func() {})
		ofPlatform(t, img, elf.EM_AARCH64, 3)
		if e.name == "root" {
			prints(t, img, noOptions, "aarch64 2.2.6 13.9.4 True 6\n")
			prints(t, img, imagetest.RunOptions{Entrypoint: []string{"f2py", "-v"}}, "2.2.6\n")
		}
	})
}

// TestNativeScripts builds scripts, with and without a lock, natively and emulated: config and files are the same.
func TestNativeScripts(t *testing.T) {
	dir := example(t, "scripts")
	for _, name := range []string{"fit.py", "locked.py"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e, script := engineNamed(t, "root"), filepath.Join(dir, name)
			native := pull(t, e.fresh(t).push(t, "native/scripts/native-"+name, "--platform", arm64, script), arm64)
			emulated := pull(t, e.fresh(t).push(t, "native/scripts/emulated-"+name, "--platform", arm64, "--emulate", script), arm64)
			lookInto(t, emulated).same(t, native)
			ofPlatform(t, native, elf.EM_AARCH64, 0)
		})
	}
}

// TestNoEmulator builds in a user namespace without any emulator. What only installs wheels needs none; what
// needs one is told so by the failing program.
func TestNoEmulator(t *testing.T) {
	e := engineNamed(t, "root").fresh(t)
	build := func(tag, layers string) outcome {
		ref := shared.env.Registry.Ref("native/no-emulator:" + tag)
		dir := files(t, "image.yaml", "python_version: '3.11'\nlayers: "+layers+"\nentrypoint: [python, -c, 'import yaml; print(yaml.__with_libyaml__)']\n")
		cmd := e.command(t, "build", "--progress", "plain", "--platform", arm64, "--push", "-t", ref, dir)
		cmd.Args = append([]string{"sh", "-c", `mount -t binfmt_misc none /proc/sys/fs/binfmt_misc || exit 125; exec "$@"`, "sh"}, cmd.Args...)
		cmd.Path = "/bin/sh"
		ids := []syscall.SysProcIDMap{{Size: 65536}}
		cmd.SysProcAttr.Cloneflags = syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS
		cmd.SysProcAttr.UidMappings, cmd.SysProcAttr.GidMappings, cmd.SysProcAttr.GidMappingsEnableSetgroups = ids, ids, true
		o := end(t, cmd)
		if o.code == 125 {
			t.Skip("this kernel has one list of emulators for all namespaces")
		}
		if o.code == 0 {
			prints(t, pull(t, ref, arm64), noOptions, "True\n")
		}
		return o
	}
	if o := build("wheels", "[{pip: [pyyaml]}]"); o.code != 0 {
		t.Errorf("wheels: exit code %d\n%s", o.code, o.stderr)
	}
	for tag, layers := range map[string]string{"command": "[{pip: [pyyaml]}, {run: 'true'}]", "no-wheel": "[{pip: [docopt]}]"} {
		if o := build(tag, layers); o.code != 1 || !strings.Contains(o.stderr, "exec format error") {
			t.Errorf("%s: exit code %d\n%s", tag, o.code, o.stderr)
		}
	}
}

// TestNoWheel falls back to emulation where a package has no wheel, and only there.
func TestNoWheel(t *testing.T) {
	e := engineNamed(t, "root")
	for name, c := range map[string]struct {
		layers, says string
		want         string // what the image prints; nothing when the build has to fail
	}{
		"no wheel at all": {"[{pip: [docopt]}]", "docopt has no wheel: linux/arm64 is built again with emulation",
			"docopt 0.6.2\n"},
		// the newest one is not replaced by an older one that has a wheel
		"older wheels": {"[{pip: ['tabulate<0.8.7', 'docopt>=0']}]", "has no wheel: linux/arm64 is built again with emulation",
			"docopt 0.6.2\ntabulate 0.8.6\n"},
		"an older wheel": {"[{pip: ['tabulate<0.8.7']}]", "tabulate 0.8.6 has no wheel: linux/arm64 is built again with emulation",
			"tabulate 0.8.6\n"},
		"wheels were asked for": {"[{pip: {packages: ['tabulate<0.8.7'], wheels_only: true}}]", ", natively\n", "tabulate 0.7.7\n"},
		"another shell":         {"[{run: cp /bin/dash /bin/d && mv /bin/d /bin/dash}, {pip: [six==1.17.0]}]", "has changed the base's own programs: linux/arm64 is built again with emulation", "six 1.17.0\n"},
		"no such package":       {"[{pip: [no-such-package-of-ibuild-tests]}]", "was not found in the package registry", ""},
	} {
		t.Run(name, func(t *testing.T) {
			const list = `import importlib.metadata as m; [print(n, m.version(n)) for n in ('docopt', 'six', 'tabulate') if any(d.name == n for d in m.distributions())]`
			spec := "python_version: '3.11'\nlayers: " + c.layers + "\nentrypoint: [python, -c, \"" + list + "\"]\n"
			ref := shared.env.Registry.Ref("native/no-wheel:" + filepath.Base(folder(t)))
			o := end(t, e.command(t, "build", "--progress", "plain", "--platform", arm64, "--push", "-t", ref, files(t, "image.yaml", spec)))
			if !strings.Contains(o.stderr, c.says) || (o.code == 0) != (c.want != "") {
				t.Errorf("exit code %d, and nothing about %q:\n%s", o.code, c.says, o.stderr)
			}
			if c.want == "" {
				if strings.Contains(o.stderr, "emulation") {
					t.Errorf("it is tried again:\n%s", o.stderr)
				}
				return
			}
			prints(t, pull(t, ref, arm64), noOptions, c.want)
		})
	}
}

var shebang = regexp.MustCompile(`^#! *(\S+)`)

// ofPlatform looks at all files of an image: machine code is for the machine, and the console scripts of the
// virtual environment, of which there are at least so many, find their interpreter.
func ofPlatform(t *testing.T, img v1.Image, machine elf.Machine, consoleScripts int) {
	t.Helper()
	programs, scripts, interpreter := 0, 0, ""
	err := imagetest.View(t.Context(), img, func(root string) error {
		err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return err
			}
			name := strings.TrimPrefix(p, root)
			head, err := firstBytes(p)
			switch m := shebang.FindSubmatch(head); {
			case bytes.HasPrefix(head, []byte(elf.ELFMAG)):
				programs++
				madeFor(t, p, name, machine)
			case m != nil && strings.HasPrefix(name, "/opt/venv/bin/"):
				if scripts++; string(m[1]) != "/opt/venv/bin/python" {
					t.Errorf("%s is run by %s", name, m[1])
				}
			}
			return err
		})
		if err != nil {
			return err
		}
		interpreter, err = os.Readlink(filepath.Join(root, "opt/venv/bin/python"))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if programs < 100 || scripts < consoleScripts {
		t.Errorf("%d programs and libraries, %d console scripts", programs, scripts)
	}
	if interpreter != "/usr/local/bin/python3" && interpreter != "/usr/local/bin/python3.11" {
		t.Errorf("the interpreter is %q", interpreter)
	}
}

// madeFor looks at what machine a program or library is for.
func madeFor(t *testing.T, file, name string, machine elf.Machine) {
	t.Helper()
	f, err := elf.Open(file)
	if err != nil {
		t.Errorf("%s: %v", name, err)
		return
	}
	defer f.Close()
	if f.Machine != machine {
		t.Errorf("%s is for %s", name, f.Machine)
	}
}

func firstBytes(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	head := make([]byte, 256)
	n, err := io.ReadFull(f, head)
	if err == io.ErrUnexpectedEOF || err == io.EOF {
		err = nil
	}
	return head[:n], err
}
