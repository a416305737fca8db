package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"time"
)

// tenWheels are packages that many projects have; all have wheels for the other platform.
const tenWheels = "[numpy, pandas, scipy, scikit-learn, pydantic, pyyaml, requests, pillow, rich, pyarrow]"

// natively measures the step that installs ten common wheels for a foreign platform: on the builder's own one,
// and emulated. Both sides have the layers below the step; nothing is exported.
func (b *bench) natively() error {
	dir := filepath.Join(b.dir, "wheels")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	index, err := serveIndex()
	if err != nil {
		return err
	}
	fmt.Println("\n| work | natively | emulated | ratio | to reach |\n| --- | --- | --- | --- | --- |")
	for _, c := range []struct {
		what, goal string
		flags      []string
	}{
		{"nothing downloaded", "≥ 5", []string{"--no-cache"}}, // which empties the cache of the downloads, too
		{"all downloaded", "", nil},                           // then both mostly copy files
	} {
		native, emulated, err := b.bothWays(dir, index, c.flags)
		if err != nil {
			return err
		}
		row("ten wheels for "+foreign()+", the step, "+c.what, ms(native), ms(emulated), fmt.Sprintf("%.1f times faster", float64(emulated)/float64(native)), c.goal)
	}
	return nil
}

// bothWays returns the medians of the step's time, natively and emulated, in turns.
func (b *bench) bothWays(dir string, index *index, flags []string) (native, emulated time.Duration, err error) {
	took := map[string][]time.Duration{}
	for run := range min(b.runs, 3) + 1 {
		// a variable makes the step run each time
		spec := fmt.Sprintf("python_version: '3.11'\nlayers:\n  - env: {RUN: '%d %s'}\n  - pip: {packages: %s, index_url: %s/simple}\n", run, flags, tenWheels, index.addr)
		if err := os.WriteFile(filepath.Join(dir, "image.yaml"), []byte(spec), 0o644); err != nil {
			return 0, 0, err
		}
		for state, all := range map[string][]string{"native": flags, "emulated": append([]string{"--emulate"}, flags...)} {
			settle(time.Second)
			t, err := b.step(dir, state, "pip: ", all...)
			if err != nil {
				return 0, 0, err
			}
			if run > 0 { // before that, bases are pulled and wheels are downloaded
				took[state] = append(took[state], t)
			}
		}
	}
	return median(took["native"]), median(took["emulated"]), nil
}

// step builds dir for the foreign platform and returns how long the step whose name begins with name took.
func (b *bench) step(dir, state, name string, flags ...string) (time.Duration, error) {
	args := append([]string{"build", "--progress", "plain", "--platform", foreign()}, flags...)
	cmd := b.env.Command(b.ctx, b.env.Self, b.ibuild, append(args, dir)...)
	cmd.Env = slices.DeleteFunc(cmd.Env, func(kv string) bool { return strings.HasPrefix(kv, "BUILDKIT_HOST=") })
	cmd.Env = append(cmd.Env, "IBUILD_ROOT="+filepath.Join(b.dir, state), "XDG_CACHE_HOME="+filepath.Join(b.dir, state+"-cache"))
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		return 0, fmt.Errorf("%s: %w\n%s", strings.Join(cmd.Args, " "), err, out.String())
	}
	return stepTime(out.String(), name)
}

// stepTime reads a plain progress: "#7 pip: numpy", and later "#7 DONE 1.2s".
func stepTime(progress, name string) (time.Duration, error) {
	m := regexp.MustCompile(`(?m)^(#\d+) ` + regexp.QuoteMeta(name)).FindStringSubmatch(progress)
	if m == nil {
		return 0, fmt.Errorf("no step %q in\n%s", name, progress)
	}
	done := regexp.MustCompile(`(?m)^`+m[1]+` DONE (\S+)$`).FindAllStringSubmatch(progress, -1)
	if len(done) == 0 {
		return 0, fmt.Errorf("the step %q did not run:\n%s", name, progress)
	}
	return time.ParseDuration(done[len(done)-1][1])
}

// foreign is a platform that this machine has to emulate.
func foreign() string {
	if runtime.GOARCH == "arm64" {
		return "linux/amd64"
	}
	return "linux/arm64"
}
