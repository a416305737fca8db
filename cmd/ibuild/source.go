package main

import (
	"fmt"
	"io"
	"io/fs"
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

// load makes the part of a request that the source and the flags about it decide: the plan, the caller's part
// of the definition, the builder's name and the pins.
func load(c *cli.Context, h *house, src string) (engine.Request, error) {
	req := engine.Request{Builder: h.builder}
	var err error
	opt := &req.Options
	if opt.Platforms, err = parsePlatforms(c.StringSlice("platform")); err != nil {
		return req, err
	}
	if opt.Epoch, err = epoch(); err != nil {
		return req, err
	}
	opt.NoCache, opt.CacheNamespace = c.Bool("no-cache"), h.settings.CacheNamespace
	if req.Plan, err = loadPlan(c, *opt, src); err != nil {
		return req, err
	}
	if err := h.useRegistryConfig(req.Plan); err != nil {
		return req, err
	}
	if req.Plan.Image != nil && len(opt.Platforms) == 0 {
		opt.Platforms = req.Plan.Platforms
	}
	if dir, _ := sourceFile(c, src); dir != "" && !c.Bool("no-lock") {
		lock, err := imagelock.Read(dir)
		if err != nil {
			return req, err
		}
		req.Pins = lock.Pins()
	}
	return req, nil
}

func loadPlan(c *cli.Context, opt llb.Options, src string) (*llb.Plan, error) {
	args, err := parsePairs("--build-arg", c.StringSlice("build-arg"), true)
	if err != nil {
		return nil, err
	}
	labels, err := parsePairs("--label", c.StringSlice("label"), false)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, p := range opt.Platforms {
		names = append(names, platforms.FormatAll(p))
	}
	plan, err := frontends.Load(frontends.Options{
		Source: src, Stdin: os.Stdin, File: c.String("file"), Frontend: c.String("frontend"),
		Dockerfile: dockerfile.Options{
			BuildArgs: args, Labels: labels, Target: c.String("target"), NoCache: opt.NoCache, Platforms: strings.Join(names, ","),
			CacheNamespace: opt.CacheNamespace, Epoch: os.Getenv("SOURCE_DATE_EPOCH"), AllowSyntax: c.Bool("allow-syntax"),
		},
	})
	if err != nil {
		return nil, err
	}
	return plan.WithLabels(labels), nil
}

// sourceFile is the file that says how to build the source: its folder and its own name. Both are "" for what
// comes from a pipe, and the name is "" when a folder has none or more than one.
func sourceFile(c *cli.Context, src string) (dir, name string) {
	info, err := os.Stat(src)
	file := c.String("file")
	switch {
	case src == "-" || file == "-" || err != nil:
		return "", ""
	case file != "":
		src = file
	case info.IsDir():
		return src, soleFile(src, c.String("frontend"))
	}
	if info, err = os.Stat(src); err != nil || !info.Mode().IsRegular() {
		return "", ""
	}
	return filepath.Dir(src), filepath.Base(src)
}

// soleFile is the file that a frontend takes when it is given the folder.
func soleFile(dir, frontend string) string {
	for _, f := range frontends.All() {
		for _, name := range f.Files {
			info, err := os.Stat(filepath.Join(dir, name))
			if err == nil && info.Mode()&fs.ModeType == 0 && (frontend == "" || frontend == f.Name) {
				return name
			}
		}
	}
	return ""
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
		return &usage{msg: fmt.Sprintf("%s: the name %s: %v", plan.Name, plan.Tag, err), hint: "write [registry/]name[:tag] in lower case, e.g. ghcr.io/me/train:v1"}
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
