package main

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"github.com/containerd/platforms"
	"github.com/docker/cli/cli/config"
	"github.com/ibuild/ibuild/engine/embed"
	"github.com/ibuild/ibuild/engine/remote"
	"github.com/ibuild/ibuild/settings"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"
)

func doctorCommand() *cli.Command {
	return &cli.Command{
		Name:  "doctor",
		Usage: "check what builds need on this machine, and name the fix for what is missing",
		Description: `It starts the builder for real, so what it says is what a build would see: the snapshotter and why it was
chosen, the runtime, the platforms that can run here, credentials, and what the machine says about
package indexes, proxies and certificates. With --try-push it also tries what a push would meet.

Exit codes: 0 builds can run, 1 something has to be mended, 2 usage.`,
		Flags:  slices.Concat(doctorFlags(), builderFlags(), engineFlags()),
		Action: runDoctor,
	}
}

// checkup prints findings and remembers whether one of them is bad.
type checkup struct {
	out io.Writer
	bad bool
}

func (d *checkup) ok(what, format string, args ...any) {
	fmt.Fprintf(d.out, "ok    %-12s %s\n", what, indent(fmt.Sprintf(format, args...)))
}

func (d *checkup) note(what, format string, args ...any) {
	fmt.Fprintf(d.out, "note  %-12s %s\n", what, indent(fmt.Sprintf(format, args...)))
}

func (d *checkup) fail(what string, err error) {
	d.bad = true
	_, msg, hint := explain(err)
	fmt.Fprintf(d.out, "FAIL  %-12s %s\n", what, indent(msg))
	if hint != "" {
		fmt.Fprintf(d.out, "      %-12s fix: %s\n", "", indent(hint))
	}
}

func indent(s string) string { return strings.ReplaceAll(s, "\n", "\n"+strings.Repeat(" ", 19)) }

func runDoctor(c *cli.Context) error {
	if err := noArgs(c); err != nil {
		return err
	}
	repos, err := readTries(c)
	if err != nil {
		return err
	}
	d := &checkup{out: c.App.Writer}
	h, err := wire(c)
	if err != nil {
		d.fail("config", err)
		return &childExit{code: exitBuild}
	}
	defer h.close()
	d.ok("ibuild", "%s, config %s", version, h.settings.File)
	d.builder(c.Context, h)
	d.credentials()
	for _, repo := range repos {
		d.push(c.Context, h, repo)
	}
	d.machine(c.Context, h)
	d.space("cache", h.cache.Dir())
	if d.bad {
		return &childExit{code: exitBuild}
	}
	return nil
}

// builder starts the one that a build would take.
func (d *checkup) builder(ctx context.Context, h *house) {
	choice, err := h.engine("quiet", nil).Builders.Choose(ctx, h.builder, "--builder or IBUILD_BUILDER")
	switch {
	case err != nil:
		d.fail("builder", err)
	case choice.Name == remoteBuilder:
		d.remote(ctx, h, choice.Why)
	case choice.Name == localBuilder:
		d.embedded(ctx, h, choice.Why)
	default:
		d.ok("builder", "%s (%s)", choice.Name, choice.Why)
	}
}

func (d *checkup) remote(ctx context.Context, h *house, why string) {
	b, err := remote.Start(ctx, h.remote)
	if err != nil {
		d.fail("builder", err)
		return
	}
	defer b.Close()
	d.ok("builder", "%s, BuildKit %s (%s)", b.Name(), b.About().BuildKit, why)
	if ps, err := b.Platforms(ctx); err == nil {
		d.platforms(ps)
	}
	if text := h.settings.BuildkitdTOML(); text != "" {
		d.note("registries", "a remote builder does not see these settings; put them into its buildkitd.toml:\n%s", strings.TrimSpace(text))
	}
}

func (d *checkup) embedded(ctx context.Context, h *house, why string) {
	e, err := embed.Start(ctx, h.embed)
	if err != nil {
		d.fail("builder", err)
		return
	}
	defer e.Close()
	a := e.About()
	who := "root"
	if a.Rootless {
		who = "an ordinary user, in a user namespace"
	}
	d.ok("builder", "in this process as %s, BuildKit %s (%s)", who, a.BuildKit, why)
	d.ok("snapshotter", "%s: %s", a.Snapshotter.Name, a.Snapshotter.Reason)
	d.ok("runtime", "%s %s", a.Runtime.Path, a.Runtime.Version)
	if !a.ProcessSandbox {
		d.note("sandbox", "steps share the process namespace of this machine: /proc is masked here")
	}
	if ps, err := e.Platforms(ctx); err == nil {
		d.platforms(ps)
	}
	d.space("state", a.Root)
}

func (d *checkup) platforms(list []ocispecs.Platform) {
	var names []string
	arm, amd := false, false
	for _, p := range list {
		names = append(names, platforms.Format(p))
		arm = arm || p.Architecture == "arm64"
		amd = amd || p.Architecture == "amd64"
	}
	names = slices.Compact(names)
	d.ok("platforms", "%s", strings.Join(names, ", "))
	if !arm || !amd {
		d.note("emulation", "images for amd64 and arm64 need an emulator here: apt-get install qemu-user-static binfmt-support")
	}
}

// credentials names the registries that there are logins for, never the logins.
func (d *checkup) credentials() {
	cfg := config.LoadDefaultConfigFile(io.Discard)
	var hosts []string
	for h := range cfg.AuthConfigs {
		hosts = append(hosts, h)
	}
	for h := range cfg.CredentialHelpers {
		hosts = append(hosts, h)
	}
	slices.Sort(hosts)
	switch {
	case len(hosts) > 0:
		d.ok("logins", "%s (%s)", strings.Join(slices.Compact(hosts), ", "), cfg.Filename)
	case cfg.CredentialsStore != "":
		d.ok("logins", "kept by docker-credential-%s", cfg.CredentialsStore)
	default:
		d.note("logins", "none in %s: pushes go to registries that take everybody (docker login REGISTRY)", cfg.Filename)
	}
}

func (d *checkup) machine(ctx context.Context, h *house) {
	_, notes, err := settings.Detect(ctx, h.settings, settings.ThisHost())
	if err != nil {
		d.fail("network", err)
		return
	}
	if len(notes) == 0 {
		d.ok("network", "no proxies, indexes or certificates of its own")
		return
	}
	d.ok("network", "%s", strings.Join(notes, "\n"))
}

// space warns before a disk is full.
func (d *checkup) space(what, dir string) {
	for at := dir; ; at = filepath.Dir(at) {
		var st unix.Statfs_t
		if err := unix.Statfs(at, &st); err != nil {
			if at == filepath.Dir(at) {
				return
			}
			continue
		}
		free := st.Bavail * uint64(st.Bsize)
		if free < 5<<30 {
			d.note(what, "%s: only %d MB are free", dir, free>>20)
			return
		}
		d.ok(what, "%s (%d GB free)", dir, free>>30)
		return
	}
}
