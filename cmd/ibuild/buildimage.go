package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/containerd/platforms"
	"github.com/distribution/reference"
	"github.com/ibuild/ibuild/engine"
	"github.com/ibuild/ibuild/engine/embed"
	"github.com/ibuild/ibuild/frontends"
	"github.com/ibuild/ibuild/frontends/dockerfile"
	"github.com/ibuild/ibuild/frontends/source"
	"github.com/ibuild/ibuild/llb"
	"github.com/ibuild/ibuild/runner/gke"
	"github.com/ibuild/ibuild/runner/launch"
	"github.com/urfave/cli/v2"
)

func buildImageCommand() *cli.Command {
	return &cli.Command{
		Name:  "build-image",
		Usage: "publish the base images of ibuild run's mode prebuilt",
		Description: `It makes REPOSITORY/base-cpu, base-gpu and base-tpu with Python, uv and the right JAX, and pushes them, several at
once. On a terminal and without --repo it asks where they go: Docker Hub, whose user and access token it keeps in your
credential store, or Artifact Registry, for which it prints the commands that create the repository and grant access.

   ibuild build-image
   ibuild build-image --repo us-docker.pkg.dev/my-project/images --project my-project --cluster training --yes
   ibuild build-image --repo docker.io/me --category gpu --category tpu --dockerfile base.Dockerfile

A Dockerfile of your own gets the build argument CATEGORY (cpu, gpu or tpu). Its image needs a Python and uv; see
docs/custom-images.md.

Exit codes: 0 published, 1 a build failed, 2 usage, 3 credentials, 4 builder or registry out of reach, 130 cancelled.`,
		Flags:  slices.Concat(buildImageFlags(), builderFlags(), engineFlags()),
		Action: runBuildImage,
	}
}

func buildImageFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "repo", Usage: "`REPOSITORY` of the images, e.g. docker.io/me or us-docker.pkg.dev/my-project/images; asked for on a terminal"},
		&cli.StringSliceFlag{Name: "category", Usage: "`CATEGORY` to publish: cpu, gpu or tpu; several are allowed, all by default"},
		&cli.StringFlag{Name: "tag", Usage: "`TAG` of the images; by default this release of ibuild, or latest between releases"},
		&cli.StringFlag{Name: "dockerfile", Usage: "`FILE` to build in place of ibuild's own base images"},
		&cli.StringFlag{Name: "python", Usage: "`X.Y` of the images' Python, " + launch.DefaultPython + " by default"},
		&cli.StringSliceFlag{Name: "platform", Usage: "`OS/ARCH` of the images; several are allowed. By default linux/amd64, and for gpu linux/arm64, too (but not with --dockerfile)"},
		&cli.BoolFlag{Name: "update-credentials", Usage: "ask for Docker Hub's user and token, also where some are kept"},
		&cli.BoolFlag{Name: "yes", Aliases: []string{"y"}, Usage: "ask nothing"},
		&cli.StringFlag{Name: "project", Usage: "`PROJECT` of Google Cloud, for the commands that are printed", EnvVars: []string{"GOOGLE_CLOUD_PROJECT", "CLOUDSDK_CORE_PROJECT"}},
		&cli.StringFlag{Name: "cluster", Usage: "`NAME` of the GKE cluster, for the commands that are printed"},
		&cli.BoolFlag{Name: "force", Usage: "build also what is known"},
		progressFlag(),
		&cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Usage: "print the images only"},
		noCacheFlag(),
	}
}

// baseTag is the tag that base images have by default: the release that this ibuild is, "latest" between releases.
func baseTag() string {
	number, ok := strings.CutPrefix(version, "v")
	if parts := strings.Split(number, "."); ok && len(parts) == 3 && strings.Trim(number, "0123456789.") == "" && !slices.Contains(parts, "") {
		return version
	}
	return "latest"
}

// baseImages are what build-image publishes.
type baseImages struct {
	*house
	cli   *cli.Context
	mode  string // of progress
	repo  baseRepo
	list  []baseImage
	asker *asker
}

// baseImage is one of them.
type baseImage struct {
	kind gke.Kind
	name reference.NamedTagged
	plan *llb.Plan
}

func runBuildImage(c *cli.Context) error {
	if err := checkProgress(c); err != nil {
		return err
	}
	if c.NArg() > 0 {
		return &usage{msg: fmt.Sprintf("%q: build-image takes no argument", c.Args().First()), hint: "name the repository with --repo"}
	}
	h, err := wire(c)
	if err != nil {
		return err
	}
	defer h.close()
	b := &baseImages{house: h, cli: c, mode: progressMode(c), asker: newAsker(c)}
	for _, step := range []func() error{b.chooseRepo, b.planAll, b.settle} {
		if err := step(); err != nil {
			return err
		}
	}
	return b.publish()
}

// planAll reads everything that can be wrong before anything is asked or built.
func (b *baseImages) planAll() error {
	kinds, err := categories(b.cli.StringSlice("category"))
	if err != nil {
		return err
	}
	for _, kind := range kinds {
		ref, err := launch.BaseImage(b.repo.name, kind, first(b.cli.String("tag"), baseTag()))
		if err != nil {
			return err
		}
		named, err := reference.ParseNormalizedNamed(ref)
		if err != nil {
			return err
		}
		plan, err := b.planOne(kind)
		if err != nil {
			return err
		}
		b.list = append(b.list, baseImage{kind: kind, name: named.(reference.NamedTagged), plan: plan})
	}
	return nil
}

// categories reads --category.
func categories(given []string) ([]gke.Kind, error) {
	var kinds []gke.Kind
	for _, text := range given {
		kind := gke.Kind(strings.ToLower(text))
		if !slices.Contains(launch.BaseKinds(), kind) {
			return nil, &usage{msg: fmt.Sprintf("--category %s: there is no such category", text), hint: "write cpu, gpu or tpu"}
		}
		if !slices.Contains(kinds, kind) {
			kinds = append(kinds, kind)
		}
	}
	if len(kinds) == 0 {
		kinds = launch.BaseKinds()
	}
	return kinds, nil
}

// planOne plans the image of a category: ibuild's own, or what the user's Dockerfile makes.
func (b *baseImages) planOne(kind gke.Kind) (*llb.Plan, error) {
	asked, err := parsePlatforms(b.cli.StringSlice("platform"))
	if err != nil {
		return nil, err
	}
	var names []string
	for _, p := range asked {
		names = append(names, platforms.FormatAll(p))
	}
	if file := b.cli.String("dockerfile"); file != "" {
		if b.cli.String("python") != "" {
			return nil, &usage{msg: "--python is for ibuild's own base images, and --dockerfile names another", hint: "leave one of them out"}
		}
		if len(names) == 0 {
			names = []string{"linux/amd64"} // its commands would run emulated on others
		}
		plan, err := frontends.Load(frontends.Options{Source: filepath.Dir(file), File: file, Frontend: frontends.Dockerfile, Dockerfile: dockerfile.Options{
			BuildArgs: map[string]string{"CATEGORY": string(kind)}, Platforms: strings.Join(names, ","),
			NoCache: b.cli.Bool("no-cache"), CacheNamespace: b.settings.CacheNamespace, Epoch: os.Getenv("SOURCE_DATE_EPOCH"),
		}})
		return withPlatforms(plan, names), err
	}
	img := launch.BaseSpec(kind, b.cli.String("python"))
	if len(names) > 0 {
		img = img.WithPlatforms(names...)
	}
	return img.Plan(source.Source{Name: "base-" + string(kind), Dir: "."})
}

// withPlatforms notes what a Dockerfile is built for, which nothing in it says.
func withPlatforms(p *llb.Plan, names []string) *llb.Plan {
	if p == nil {
		return nil
	}
	plan := *p
	plan.Platforms, _ = parsePlatforms(names) // they were parsed before
	return &plan
}

// settle says what will be done, asks for what is missing, and for a yes.
func (b *baseImages) settle() error {
	for _, img := range b.list {
		var names []string
		for _, p := range img.plan.Platforms {
			names = append(names, platforms.Format(p))
		}
		say(b.mode, "%s (%s)", img.name, strings.Join(names, ", "))
	}
	b.repo.sayCommands(b.mode, b.cli.String("project"), b.cli.String("cluster"))
	if err := b.checkCredentials(); err != nil {
		return err
	}
	if b.cli.Bool("yes") {
		return nil
	}
	return b.asker.confirm(fmt.Sprintf("Build and push %d images", len(b.list)))
}

// publish builds all of them at once, and says what to set.
func (b *baseImages) publish() error {
	d, err := show(b.cli.Context, b.mode)
	if err != nil {
		return err
	}
	builders, closeAll := sharedLocal(b.builders(b.mode))
	e := b.engine(b.mode, d.progress)
	e.Builders = builders
	results, errs := make([]*engine.Result, len(b.list)), make([]error, len(b.list))
	var group sync.WaitGroup
	for i := range b.list {
		group.Go(func() {
			if results[i], errs[i] = e.Build(b.cli.Context, b.request(b.list[i])); errs[i] != nil {
				errs[i] = fmt.Errorf("%s: %w", b.list[i].name, errs[i])
			}
		})
	}
	group.Wait()
	d.close()
	errs = append(errs, closeAll())
	if b.cli.Context.Err() != nil {
		return context.Canceled
	}
	for i, res := range results {
		if res != nil {
			fmt.Fprintf(b.cli.App.Writer, "%s@%s\n", b.list[i].name, res.Descriptor.Digest)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	say(b.mode, "Jobs find them when this is set:")
	if b.mode != "quiet" {
		fmt.Fprintf(b.cli.App.Writer, "export %s=%s\n", launch.BaseRepoVariable, b.repo.name)
		if tag := b.cli.String("tag"); tag != "" && tag != baseTag() {
			fmt.Fprintf(b.cli.App.Writer, "export IBUILD_BASE_IMAGE_TAG=%s\n", tag)
		}
	}
	return nil
}

func (b *baseImages) request(img baseImage) engine.Request {
	req := engine.Request{Plan: img.plan, Builder: b.builder, Force: b.cli.Bool("force"), Machine: b.machine(b.cli.Context, b.mode)}
	req.Options = llb.Options{Platforms: img.plan.Platforms, NoCache: b.cli.Bool("no-cache"), CacheNamespace: b.settings.CacheNamespace}
	req.Outputs = engine.Outputs{Push: true, Names: []reference.NamedTagged{img.name}, Compression: usualCompression(b.settings.Build)}
	return req
}

// sharedLocal lets builds that run at once share one in-process engine: its state belongs to one at a time.
func sharedLocal(list engine.Builders) (shared engine.Builders, closeAll func() error) {
	var once sync.Once
	var opened engine.Builder
	var openErr error
	shared = slices.Clone(list)
	for i, p := range list {
		if p.Name != localBuilder {
			continue
		}
		shared[i].Open = func(ctx context.Context, why string) (engine.Builder, error) {
			once.Do(func() { opened, openErr = p.Open(context.WithoutCancel(ctx), why) })
			if e, ok := opened.(*embed.Engine); ok {
				return sharedEngine{e}, openErr
			}
			return opened, openErr
		}
	}
	return shared, func() error {
		if opened == nil {
			return nil
		}
		return opened.Close()
	}
}

// sharedEngine is closed by who shares it.
type sharedEngine struct{ *embed.Engine }

// Close leaves the engine open.
func (sharedEngine) Close() error { return nil }
