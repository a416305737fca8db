package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/containerd/platforms"
	"github.com/distribution/reference"
	"github.com/ibuild/ibuild/engine"
	"github.com/ibuild/ibuild/frontends"
	"github.com/ibuild/ibuild/frontends/dockerfile"
	"github.com/ibuild/ibuild/imagelock"
	"github.com/ibuild/ibuild/llb"
	"github.com/urfave/cli/v2"
)

// job is a command about one source: what it is wired from, where the source's text is (both are "" for a pipe),
// and the part of a request that the source and the flags about it decide.
type job struct {
	*house
	dir, file string
	req       engine.Request
}

// open wires a command, reads the source that is its only argument, and prints the warnings about it. Whoever
// opens a job closes it.
func open(c *cli.Context) (*job, error) {
	arg, err := oneArg(c, "")
	if err != nil {
		return nil, err
	}
	return openSource(c, arg)
}

// openSource is open for a source that is known already.
func openSource(c *cli.Context, arg string) (*job, error) {
	h, err := wire(c)
	if err != nil {
		return nil, err
	}
	j := &job{house: h}
	if err := j.load(c, arg); err != nil {
		h.close()
		return nil, err
	}
	warn(c.App.ErrWriter, progressMode(c), j.req.Plan)
	return j, nil
}

// load reads the source: the plan, the caller's part of the definition, the builder's name and the pins.
func (j *job) load(c *cli.Context, arg string) error {
	j.req.Builder = j.builder
	j.req.Outputs.Compression = usualCompression(j.settings.Build)
	opt := &j.req.Options
	var err error
	if opt.Platforms, err = parsePlatforms(c.StringSlice("platform")); err != nil {
		return err
	}
	if opt.Epoch, err = epoch(); err != nil {
		return err
	}
	opt.NoCache, opt.CacheNamespace = c.Bool("no-cache"), j.settings.CacheNamespace
	if err := j.plan(c, arg); err != nil {
		return err
	}
	if err := j.useRegistryConfig(j.req.Plan); err != nil {
		return err
	}
	if j.req.Plan.Image != nil && len(opt.Platforms) == 0 {
		opt.Platforms = j.req.Plan.Platforms
	}
	if j.file != "" && !c.Bool("no-lock") {
		lock, err := imagelock.Read(j.dir)
		if err != nil {
			return err
		}
		j.req.Pins = lock.Pins()
	}
	return nil
}

// plan finds out what the source is and makes its plan.
func (j *job) plan(c *cli.Context, arg string) error {
	args, err := parsePairs("--build-arg", c.StringSlice("build-arg"), true)
	if err != nil {
		return err
	}
	labels, err := parsePairs("--label", c.StringSlice("label"), false)
	if err != nil {
		return err
	}
	var names []string
	for _, p := range j.req.Options.Platforms {
		names = append(names, platforms.FormatAll(p))
	}
	o := given(c, arg)
	o.Dockerfile = dockerfile.Options{
		BuildArgs: args, Labels: labels, Target: c.String("target"), NoCache: j.req.Options.NoCache, Platforms: strings.Join(names, ","),
		CacheNamespace: j.req.Options.CacheNamespace, Epoch: os.Getenv("SOURCE_DATE_EPOCH"), AllowSyntax: c.Bool("allow-syntax"),
	}
	g, err := frontends.Read(o)
	if err != nil {
		return err
	}
	plan, err := g.Plan()
	if err != nil {
		return err
	}
	j.dir, j.file = g.File()
	if j.req.Source, err = sourcePath(g); err != nil {
		return err
	}
	j.req.Plan = plan.WithLabels(labels)
	return nil
}

// sourcePath is the absolute path of the text that says how to build, "" for a pipe.
func sourcePath(g frontends.Given) (string, error) {
	dir, file := g.File()
	if file == "" {
		return "", nil
	}
	return filepath.Abs(filepath.Join(dir, file))
}

// given is what the command line says about where a source is, see [givenFlags].
func given(c *cli.Context, arg string) frontends.Options {
	return frontends.Options{Source: arg, Stdin: c.App.Reader, File: c.String("file"), Frontend: c.String("frontend")}
}

// readNames reads the names of the image: those of -t, else the one that the source has. A name of the
// source's without a tag gets one from the identity.
func readNames(c *cli.Context, plan *llb.Plan, out *engine.Outputs) (err error) {
	tags := c.StringSlice("tag")
	if len(tags) > 0 || plan.Tag == "" {
		out.Names, err = parseNames(tags)
		return err
	}
	named, err := reference.ParseNormalizedNamed(plan.Tag)
	if err != nil {
		return &usage{msg: fmt.Sprintf("%s: the name %s: %v", plan.Name, plan.Tag, err), hint: nameHint}
	}
	if !reference.IsNameOnly(named) {
		if plan.TagFormat != "" {
			return &usage{msg: fmt.Sprintf("%s: the name %s has a tag, and there is a format for tags, too", plan.Name, plan.Tag), hint: "give one of them"}
		}
		out.Names, err = parseNames([]string{plan.Tag})
		return err
	}
	if err := llb.CheckTagFormat(plan.TagFormat); err != nil {
		return &usage{msg: plan.Name + ": " + err.Error(), hint: "write e.g. {spec_hash}-dev"}
	}
	out.ByIdentity = []engine.IdentityName{{Name: named, Format: plan.TagFormat}}
	return nil
}

// warn prints the findings that do not stop the build, for people: not in quiet and machine-readable modes.
func warn(w io.Writer, mode string, plan *llb.Plan) {
	if mode == "quiet" || mode == "rawjson" {
		return
	}
	for _, finding := range plan.Warnings {
		fmt.Fprintf(plainText{w}, "warning: %s\n", finding)
	}
}

// readSwitch is a flag that the environment can set, too, also with the variables of flytekit.
func readSwitch(c *cli.Context, flag string, variables ...string) (bool, error) {
	if c.IsSet(flag) {
		return c.Bool(flag), nil
	}
	on := false
	for _, name := range variables {
		value := os.Getenv(name)
		switch strings.ToLower(strings.TrimSpace(value)) {
		case "1", "true", "t", "yes", "y", "on":
			on = true
		case "", "0", "false", "f", "no", "n", "off":
		default:
			return false, &usage{msg: fmt.Sprintf("%s=%s is neither yes nor no", name, value), hint: "write " + name + "=1 or " + name + "=0"}
		}
	}
	return on, nil
}
