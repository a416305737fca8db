package main

import (
	"context"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/containerd/platforms"
	"github.com/distribution/reference"
	"github.com/ibuild/ibuild/engine"
	"github.com/ibuild/ibuild/llb"
	"github.com/ibuild/ibuild/registry/codec"
	"github.com/moby/buildkit/session/secrets/secretsprovider"
	"github.com/moby/buildkit/util/suggest"
	"github.com/urfave/cli/v2"
)

func buildCommand() *cli.Command {
	return &cli.Command{
		Name:      "build",
		Usage:     "make an image from a folder, a Dockerfile, an image spec, a uv script or a notebook",
		ArgsUsage: "SOURCE",
		Description: `SOURCE is a folder, a Dockerfile, an image spec (image.yaml), a Python script with a PEP 723 header, a notebook
(.ipynb), or - for standard input. ibuild finds out what it is, unless --frontend says so.

   ibuild build -t ghcr.io/me/train:v1 --push --platform linux/amd64,linux/arm64 train.py
   ibuild build -t me/app:dev -o type=docker,dest=app.tar .
   ibuild build -f deploy/Dockerfile --build-arg VERSION=2 -o type=local,dest=out .
   BUILDKIT_HOST=tcp://buildkitd:1234 ibuild build -t ghcr.io/me/app --push .

Exit codes: 0 built, 1 the build failed, 2 usage, 3 credentials, 4 builder or registry out of reach
(try again), 130 cancelled.`,
		Flags:  slices.Concat(buildFlags(), sourceFlags(), builderFlags(), engineFlags()),
		Action: runBuild,
	}
}

func buildFlags() []cli.Flag {
	return []cli.Flag{
		tagFlag(),
		&cli.BoolFlag{Name: "push", Usage: "push to the registries of the names"},
		&cli.StringSliceFlag{Name: "output", Aliases: []string{"o"}, Usage: "`OUTPUT`, several are allowed: type=oci|docker|tar,dest=FILE (- is standard output), type=local,dest=FOLDER, or a folder"},
		&cli.StringFlag{Name: "compression", Usage: "how new layers are compressed: `NAME` is zstd, gzip or uncompressed. By default zstd, and gzip in archives and for registries known to need it. gzip and uncompressed change the base's layers, too, where they are others; docker before 23.0 and containerd before 1.5 cannot read zstd", EnvVars: []string{"IBUILD_COMPRESSION"}},
		&cli.IntFlag{Name: "compression-level", Usage: "`LEVEL`: zstd 1 to 22 (1 by default), gzip 1 to 9 (4 by default)"},
		&cli.StringFlag{Name: "metadata-file", Usage: "write digests and names as JSON, with buildx's keys, to `FILE`"},
		&cli.StringFlag{Name: "iidfile", Usage: "write the image's id, the digest of its config or index, to `FILE`"},
		progressFlag(),
		&cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Usage: "print the digest only"},
		secretFlag(),
		&cli.BoolFlag{Name: "force", Usage: "build and push even when the result is known [$IBUILD_FORCE, $FLYTE_FORCE_PUSH_IMAGE_SPEC]"},
		&cli.BoolFlag{Name: "fail-fast", Usage: "fail when a registry cannot tell whether the image exists [$IBUILD_FAIL_FAST, $FLYTE_IMG_FAST_FAIL]"},
		&cli.BoolFlag{Name: "emulate", Usage: "run all steps for a foreign platform with emulation, also where that is not needed"},
		&cli.StringFlag{Name: "env-repo", Usage: "`REPOSITORY` where environments are kept and found, in place of the image's own", EnvVars: []string{"IBUILD_ENV_REPO"}},
		&cli.BoolFlag{Name: "no-env-tag", Usage: "neither keep nor look for environments in registries, whatever --env-repo says"},
		noCacheFlag(),
		&cli.StringSliceFlag{Name: "cache-from", Usage: "`CACHE` where results of steps may be found, several are allowed: NAME of a registry, or type=registry|local|gha|s3,…; see docs/remote-cache.md"},
		&cli.StringSliceFlag{Name: "cache-to", Usage: "`CACHE` that results of steps are put into, several are allowed: NAME of a registry, or type=registry|inline|local|gha|s3,…"},
		&cli.BoolFlag{Name: "cache-strict", Usage: "fail when a cache cannot be written, in place of a warning"},
		noLockFlag(),
	}
}

// sourceFlags say what is built.
func sourceFlags() []cli.Flag {
	return append(givenFlags(),
		&cli.StringSliceFlag{Name: "platform", Usage: "`OS/ARCH` of the image; several are allowed, also with commas, and make one index"},
		&cli.StringSliceFlag{Name: "build-arg", Usage: "`KEY=VALUE` of an ARG in the Dockerfile; several are allowed"},
		&cli.StringSliceFlag{Name: "label", Usage: "`KEY=VALUE` for the image; several are allowed"},
		&cli.StringFlag{Name: "target", Usage: "`STAGE` of the Dockerfile to build"},
		&cli.BoolFlag{Name: "allow-syntax", Usage: "let a # syntax= line run an image other than docker/dockerfile on the builder"},
	)
}

// givenFlags say where the source is, and what it is.
func givenFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "frontend", Usage: "`KIND` of the source: dockerfile, notebook, spec or uvscript; detected by default"},
		&cli.StringFlag{Name: "file", Aliases: []string{"f"}, Usage: "`FILE` that says how to build the folder SOURCE; - is standard input"},
	}
}

func tagFlag() cli.Flag {
	return &cli.StringSliceFlag{Name: "tag", Aliases: []string{"t"}, Usage: "`NAME[:TAG]` of the image; several are allowed"}
}

func secretFlag() cli.Flag {
	return &cli.StringSliceFlag{Name: "secret", Usage: "`SECRET` that steps may mount: id=ID,src=FILE or id=ID,env=NAME; several are allowed"}
}

func noCacheFlag() cli.Flag {
	return &cli.BoolFlag{Name: "no-cache", Usage: "run every step, also where its result is known"}
}

// noLockFlag is for the commands that take the digests of a lock.
func noLockFlag() cli.Flag {
	return &cli.BoolFlag{Name: "no-lock", Aliases: []string{"pull"}, Usage: "ignore ibuild.lock and take what the tags of images point to now"}
}

// order is the command line of a build, read.
type order struct {
	*job
	secrets  []secretsprovider.Source
	progress string
}

func runBuild(c *cli.Context) error {
	if err := checkProgress(c); err != nil {
		return err
	}
	j, err := open(c)
	if err != nil {
		return err
	}
	defer j.close()
	o := &order{job: j, progress: progressMode(c)}
	if err := o.read(c); err != nil {
		return err
	}
	say(o.progress, "%s: %s%s", o.req.Plan.Name, o.req.Plan.Kind, o.forPlatforms())
	if o.req.Secrets, err = secretsprovider.NewStore(o.secrets); err != nil {
		return &usage{msg: err.Error()}
	}
	o.req.Machine = o.machine(c.Context, o.progress)
	d, err := show(c.Context, o.progress)
	if err != nil {
		return err
	}
	start := time.Now()
	res, err := o.engine(o.progress, d.progress).Build(c.Context, o.req)
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
	for _, p := range o.req.Options.Platforms {
		names = append(names, platforms.Format(p))
	}
	if len(names) == 0 {
		return ""
	}
	return " for " + strings.Join(names, ", ")
}

// read reads everything else that can be wrong in a command line before anything is built.
func (o *order) read(c *cli.Context) (err error) {
	o.req.Emulate = c.Bool("emulate")
	if o.req.Force, err = readSwitch(c, "force", "IBUILD_FORCE", "FLYTE_FORCE_PUSH_IMAGE_SPEC"); err != nil {
		return err
	}
	if o.req.FailFast, err = readSwitch(c, "fail-fast", "IBUILD_FAIL_FAST", "FLYTE_IMG_FAST_FAIL"); err != nil {
		return err
	}
	if err := o.readOutputs(c); err != nil {
		return err
	}
	if err := o.readCaches(c); err != nil {
		return err
	}
	return o.readSecrets(c)
}

func (o *order) readOutputs(c *cli.Context) error {
	out := &o.req.Outputs
	err := readNames(c, o.req.Plan, out)
	if err != nil {
		return err
	}
	exports, push, err := parseExports(c.StringSlice("output"))
	if err != nil {
		return err
	}
	out.Exports = exports
	out.Push = push || c.Bool("push")
	if err := readEnvRepo(c, out); err != nil {
		return err
	}
	if err := readCompression(c, out); err != nil {
		return err
	}
	out.Digest = c.String("iidfile") != "" || c.String("metadata-file") != ""
	if out.Push && len(out.Names)+len(out.ByIdentity) == 0 {
		return &usage{msg: "--push needs a name", hint: "add -t REGISTRY/NAME[:TAG]"}
	}
	if len(o.req.Options.Platforms) > 1 {
		for _, e := range exports {
			if e.Type == engine.DockerExport {
				return &usage{msg: "-o type=docker holds one platform", hint: "take type=oci, or one --platform"}
			}
		}
	}
	if !out.Push && len(exports) == 0 && o.builderName() != "noop" {
		say(o.progress, "note: no output was asked for; the result stays in the builder's cache. Add --push or -o type=oci,dest=FILE")
	}
	return nil
}

// readCompression reads how layers are compressed; without a flag it stays as the settings have it.
func readCompression(c *cli.Context, out *engine.Outputs) error {
	asked := engine.Compression{Name: c.String("compression"), Level: c.Int("compression-level")}
	if asked == (engine.Compression{}) {
		return nil
	}
	name := first(asked.Name, codec.Zstd)
	if _, err := codec.New(name, asked.Level); err != nil {
		hint := "the names are " + strings.Join(codec.Names(), ", ")
		if match, ok := suggest.Search(name, codec.Names(), false); ok {
			hint = "did you mean " + match + "?"
		}
		return &usage{msg: "--compression: " + err.Error(), hint: hint}
	}
	if asked.Level != 0 && asked.Name == "" {
		return &usage{msg: "--compression-level needs --compression", hint: "levels mean something else for each: add --compression zstd or gzip"}
	}
	out.Compression = asked
	return nil
}

// readEnvRepo reads where environments are kept.
func readEnvRepo(c *cli.Context, out *engine.Outputs) error {
	repo := c.String("env-repo")
	out.NoEnvTag = c.Bool("no-env-tag")
	if repo == "" {
		return nil
	}
	named, err := reference.ParseNormalizedNamed(repo)
	if err != nil || !reference.IsNameOnly(named) {
		return &usage{msg: fmt.Sprintf("--env-repo %s is not a repository", repo), hint: "write [registry/]name in lower case and without a tag, e.g. ghcr.io/me/environments"}
	}
	out.EnvRepo = named
	return nil
}

// builderName is the builder that was asked for, "" for none.
func (o *order) builderName() string { return first(o.req.Builder, o.req.Plan.Builder) }

// readSecrets checks that every secret that the source needs can be found, before anything is built.
func (o *order) readSecrets(c *cli.Context) error {
	given, sources, err := parseSecrets(c.StringSlice("secret"))
	if err != nil {
		return err
	}
	o.secrets = sources
	for _, need := range o.req.Plan.Secrets {
		if given[need.ID] {
			continue
		}
		src, looked, ok := findSecret(need)
		if ok {
			say(o.progress, "secret %s: taken from %s", need.ID, first(src.FilePath, "$"+src.Env))
			o.secrets = append(o.secrets, src)
		} else if !need.Optional {
			return &usage{msg: fmt.Sprintf("%s needs the secret %q, and it is nowhere (looked at: %s)", o.req.Plan.Name, need.ID, strings.Join(looked, ", ")),
				hint: "give it with --secret id=" + need.ID + ",src=FILE or ,env=NAME"}
		}
	}
	return nil
}

// findSecret looks for a secret that was not given: a variable with the name of its key, or a file below
// /etc/secrets, where clusters mount secrets as group/key, or the file that the source itself names. It says
// where it looked.
func findSecret(need llb.SecretNeed) (secretsprovider.Source, []string, bool) {
	id, name := need.ID, path.Base(need.ID)
	file := "/etc/secrets/" + id
	looked := []string{"--secret", "$" + name, file}
	if _, ok := os.LookupEnv(name); ok {
		return secretsprovider.Source{ID: id, Env: name}, looked, true
	}
	if mounted(id) {
		return secretsprovider.Source{ID: id, FilePath: file}, looked, true
	}
	return secretsprovider.Source{ID: id, FilePath: need.File}, looked, need.File != ""
}

// mounted says whether a cluster has mounted the secret.
func mounted(id string) bool {
	root, err := os.OpenRoot("/etc/secrets")
	if err != nil {
		return false
	}
	defer root.Close()
	info, err := root.Stat(id)
	return err == nil && info.Mode().IsRegular()
}
