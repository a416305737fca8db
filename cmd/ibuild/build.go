package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/containerd/platforms"
	"github.com/ibuild/ibuild/engine"
	"github.com/ibuild/ibuild/frontends"
	"github.com/ibuild/ibuild/frontends/dockerfile"
	"github.com/ibuild/ibuild/llb"
	"github.com/moby/buildkit/session/secrets/secretsprovider"
	"github.com/urfave/cli/v2"
)

func buildCommand() *cli.Command {
	return &cli.Command{
		Name:      "build",
		Usage:     "make an image from a folder, a Dockerfile, an image spec or a uv script",
		ArgsUsage: "SOURCE",
		Description: `SOURCE is a folder, a Dockerfile, an image spec (image.yaml), a Python script with a PEP 723 header,
or - for standard input. What it is is found out; --frontend says it.

   ibuild build -t ghcr.io/me/train:v1 --push --platform linux/amd64,linux/arm64 train.py
   ibuild build -t me/app:dev -o type=docker,dest=app.tar .
   ibuild build -f deploy/Dockerfile --build-arg VERSION=2 -o type=local,dest=out .
   BUILDKIT_HOST=tcp://buildkitd:1234 ibuild build -t ghcr.io/me/app --push .

Exit codes: 0 built, 1 the build failed, 2 usage, 3 credentials, 4 builder or registry out of reach
(try again), 130 cancelled.`,
		Flags:        append(append(buildFlags(), sourceFlags()...), append(builderFlags(), engineFlags()...)...),
		Action:       runBuild,
		OnUsageError: usageError,
	}
}

func buildFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringSliceFlag{Name: "tag", Aliases: []string{"t"}, Usage: "`NAME[:TAG]` of the image; several are allowed"},
		&cli.BoolFlag{Name: "push", Usage: "push to the registries of the names"},
		&cli.StringSliceFlag{Name: "output", Aliases: []string{"o"}, Usage: "`type=oci|docker|tar|local,dest=PATH`"},
		&cli.StringFlag{Name: "metadata-file", Usage: "write digests and names as JSON, with buildx's keys, to `FILE`"},
		&cli.StringFlag{Name: "iidfile", Usage: "write the image's digest to `FILE`"},
		&cli.StringFlag{Name: "progress", Value: "auto", Usage: "auto, tty, plain, quiet or rawjson", EnvVars: []string{"BUILDKIT_PROGRESS"}},
		&cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Usage: "print the digest only"},
		&cli.StringSliceFlag{Name: "secret", Usage: "`id=ID,src=FILE` or id=ID,env=NAME: a secret that steps may mount"},
		&cli.BoolFlag{Name: "force", Usage: "build and push even when the result is known"},
		&cli.BoolFlag{Name: "no-cache", Usage: "run every step"},
	}
}

// sourceFlags say what is built.
func sourceFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "frontend", Usage: "dockerfile, spec or uvscript; detected by default"},
		&cli.StringFlag{Name: "file", Aliases: []string{"f"}, Usage: "the Dockerfile or spec of a folder; - is standard input"},
		&cli.StringSliceFlag{Name: "platform", Usage: "`OS/ARCH`, several for one index"},
		&cli.StringSliceFlag{Name: "build-arg", Usage: "`KEY=VALUE` of an ARG in the Dockerfile"},
		&cli.StringSliceFlag{Name: "label", Usage: "`KEY=VALUE` for the image"},
		&cli.StringFlag{Name: "target", Usage: "`STAGE` of the Dockerfile to build"},
		&cli.BoolFlag{Name: "allow-syntax", Usage: "let a # syntax= line run an image other than docker/dockerfile on the builder"},
	}
}

// order is a command line, read.
type order struct {
	plan     *llb.Plan
	options  llb.Options
	outputs  engine.Outputs
	secrets  []secretsprovider.Source
	progress string
}

func runBuild(c *cli.Context) error {
	h, err := wire(c)
	if err != nil {
		return err
	}
	defer h.close()
	o, err := readOrder(c, h)
	if err != nil {
		return err
	}
	say(o.progress, "%s: %s%s", o.plan.Name, o.plan.Kind, o.forPlatforms())
	store, err := secretsprovider.NewStore(o.secrets)
	if err != nil {
		return &usage{msg: err.Error()}
	}
	d, err := show(c.Context, o.progress)
	if err != nil {
		return err
	}
	start := time.Now()
	res, err := h.engine(o.progress, d.progress).Build(c.Context, engine.Request{
		Plan: o.plan, Options: o.options, Machine: h.machine(c.Context, o.progress), Secrets: store, Outputs: o.outputs, Force: c.Bool("force"),
	})
	d.close()
	if err != nil {
		if c.Context.Err() != nil {
			return context.Canceled
		}
		return err
	}
	o.sayResult(res, time.Since(start))
	return o.writeResult(c, res)
}

func (o *order) forPlatforms() string {
	var names []string
	for _, p := range o.options.Platforms {
		names = append(names, platforms.Format(p))
	}
	if len(names) == 0 {
		return ""
	}
	return " for " + strings.Join(names, ", ")
}

// readOrder reads everything that can be wrong in a command line before anything is built.
func readOrder(c *cli.Context, h *house) (*order, error) {
	o := &order{progress: progressMode(c)}
	src, err := oneArg(c, "")
	if err != nil {
		return nil, err
	}
	if o.plan, o.options, err = load(c, h, src); err != nil {
		return nil, err
	}
	if err := o.readOutputs(c); err != nil {
		return nil, err
	}
	return o, o.readSecrets(c)
}

// load makes the plan and the caller's part of the definition.
func load(c *cli.Context, h *house, src string) (*llb.Plan, llb.Options, error) {
	var opt llb.Options
	var err error
	if opt.Platforms, err = parsePlatforms(c.StringSlice("platform")); err != nil {
		return nil, opt, err
	}
	if opt.Epoch, err = epoch(); err != nil {
		return nil, opt, err
	}
	opt.NoCache, opt.CacheNamespace = c.Bool("no-cache"), h.settings.CacheNamespace
	args, err := parsePairs("--build-arg", c.StringSlice("build-arg"), true)
	if err != nil {
		return nil, opt, err
	}
	labels, err := parsePairs("--label", c.StringSlice("label"), false)
	if err != nil {
		return nil, opt, err
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
		return nil, opt, err
	}
	if plan.Image != nil {
		plan = plan.WithLabels(labels)
		if len(opt.Platforms) == 0 {
			opt.Platforms = plan.Platforms
		}
	}
	return plan, opt, nil
}

func (o *order) readOutputs(c *cli.Context) (err error) {
	tags := c.StringSlice("tag")
	if len(tags) == 0 && o.plan.Tag != "" {
		tags = []string{o.plan.Tag}
	}
	if o.outputs.Names, err = parseNames(tags); err != nil {
		return err
	}
	exports, push, err := parseExports(c.StringSlice("output"))
	if err != nil {
		return err
	}
	o.outputs.Exports = exports
	o.outputs.Push = push || c.Bool("push")
	o.outputs.Digest = c.String("iidfile") != "" || c.String("metadata-file") != ""
	if o.outputs.Push && len(o.outputs.Names) == 0 {
		return &usage{msg: "--push needs a name", hint: "add -t REGISTRY/NAME[:TAG]"}
	}
	if len(o.options.Platforms) > 1 {
		for _, e := range exports {
			if e.Type == engine.DockerExport {
				return &usage{msg: "-o type=docker holds one platform", hint: "take type=oci, or one --platform"}
			}
		}
	}
	if !o.outputs.Push && len(exports) == 0 {
		say(o.progress, "note: no output was asked for; the result stays in the builder's cache. Add --push or -o type=oci,dest=FILE")
	}
	return nil
}

// readSecrets checks that every secret that the source needs can be found, before anything is built.
func (o *order) readSecrets(c *cli.Context) error {
	given, sources, err := parseSecrets(c.StringSlice("secret"))
	if err != nil {
		return err
	}
	o.secrets = sources
	for _, need := range o.plan.Secrets {
		if given[need.ID] {
			continue
		}
		src, looked, ok := findSecret(need.ID)
		if ok {
			say(o.progress, "secret %s: taken from %s", need.ID, first(src.FilePath, "$"+src.Env))
			o.secrets = append(o.secrets, src)
		} else if !need.Optional {
			return &usage{msg: fmt.Sprintf("%s needs the secret %q, and it is nowhere (looked at: %s)", o.plan.Name, need.ID, strings.Join(looked, ", ")),
				hint: "give it with --secret id=" + need.ID + ",src=FILE or ,env=NAME"}
		}
	}
	return nil
}

// findSecret looks for a secret that was not given: a variable with the name of its key, or a file below
// /etc/secrets, where clusters mount secrets as group/key. It says where it looked.
func findSecret(id string) (secretsprovider.Source, []string, bool) {
	name := path.Base(id)
	file := "/etc/secrets/" + id
	looked := []string{"--secret", "$" + name, file}
	if _, ok := os.LookupEnv(name); ok {
		return secretsprovider.Source{ID: id, Env: name}, looked, true
	}
	root, err := os.OpenRoot("/etc/secrets")
	if err != nil {
		return secretsprovider.Source{}, looked, false
	}
	defer root.Close()
	if info, err := root.Stat(id); err == nil && info.Mode().IsRegular() {
		return secretsprovider.Source{ID: id, FilePath: file}, looked, true
	}
	return secretsprovider.Source{}, looked, false
}

func (o *order) sayResult(res *engine.Result, took time.Duration) {
	how := map[engine.How]string{
		engine.HowKnown:     "nothing changed: no builder was needed",
		engine.HowAssembled: "only code changed: put together without a builder",
		engine.HowSolved:    "built by " + res.Builder,
	}[res.How]
	if res.How == engine.HowAssembled && res.Builder != "" {
		how = "environment built by " + res.Builder + ", code put on top"
	}
	say(o.progress, "%s, in %s", how, took.Round(time.Millisecond))
	for _, n := range res.Names {
		say(o.progress, "pushed %s@%s", n, res.Descriptor.Digest)
	}
	for _, e := range o.outputs.Exports {
		if e.Dest != "-" {
			say(o.progress, "wrote %s", e.Dest)
		}
	}
}

// metadata has the keys of `docker buildx build --metadata-file`.
func metadata(res *engine.Result) map[string]any {
	m := map[string]any{}
	if res.Descriptor.Digest != "" {
		m["containerimage.digest"], m["containerimage.descriptor"] = res.Descriptor.Digest, res.Descriptor
	}
	if res.ConfigDigest != "" {
		m["containerimage.config.digest"] = res.ConfigDigest
	}
	if len(res.Names) > 0 {
		m["image.name"] = strings.Join(res.Names, ",")
	}
	return m
}

func (o *order) writeResult(c *cli.Context, res *engine.Result) error {
	var errs []error
	if f := c.String("metadata-file"); f != "" {
		data, err := json.MarshalIndent(metadata(res), "", "  ")
		if err != nil {
			return err
		}
		errs = append(errs, engine.WriteFile(f, append(data, '\n')))
	}
	if f := c.String("iidfile"); f != "" && res.Descriptor.Digest != "" {
		id := first(res.ConfigDigest, res.Descriptor.Digest.String())
		errs = append(errs, engine.WriteFile(f, []byte(id)))
	}
	archive := slices.ContainsFunc(o.outputs.Exports, func(e engine.Export) bool { return e.Dest == "-" })
	if c.Bool("quiet") && res.Descriptor.Digest != "" && !archive {
		fmt.Println(res.Descriptor.Digest)
	}
	return errors.Join(errs...)
}
