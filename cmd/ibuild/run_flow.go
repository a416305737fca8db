package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/distribution/reference"
	"github.com/ibuild/ibuild/cache"
	"github.com/ibuild/ibuild/runner/bootstrap/contract"
	"github.com/ibuild/ibuild/runner/gke"
	"github.com/ibuild/ibuild/runner/launch"
	"github.com/moby/buildkit/session/secrets/secretsprovider"
	"github.com/urfave/cli/v2"
)

// running is one `ibuild run`: what it is wired from, the job, and the cluster that it goes to.
type running struct {
	*house
	cli     *cli.Context
	mode    string // of progress
	job     gke.Job
	plan    *launch.Plan
	cluster *gke.Cluster

	out, errs   io.Writer
	onInterrupt string
	results     string // folder of this machine; empty is none
	told        string // what was said last of the job's state
}

func runRun(c *cli.Context) error {
	if err := checkProgress(c); err != nil {
		return err
	}
	r, err := openRun(c)
	if err != nil {
		return err
	}
	defer r.close()
	if c.Bool("dry-run") {
		return r.dryRun()
	}
	place, err := r.cluster.Check(c.Context, r.job)
	if err != nil {
		return err
	}
	say(r.mode, "cluster %s: %s", first(r.cluster.Context, "of this pod"), place.Note)
	for _, note := range place.Notes {
		say(r.mode, "note: %s", note)
	}
	if err := r.prepare(c.Context); err != nil {
		return err
	}
	run, err := r.cluster.Submit(c.Context, r.job)
	if err != nil {
		return err
	}
	say(r.mode, "submitted job %s to the namespace %s", run.Name, run.Namespace)
	for _, text := range r.cluster.Warnings() {
		say(r.mode, "warning: %s", text)
	}
	if c.Bool("detach") {
		return r.detached(run)
	}
	return r.follow(c.Context, run)
}

// openRun reads everything that can be wrong in a command line, in a source or in a kubeconfig, and asks nobody.
func openRun(c *cli.Context) (*running, error) {
	if c.NArg() == 0 {
		return nil, &usage{msg: "ibuild run needs a SOURCE", hint: "name a script, a notebook, a folder, an image spec, a Dockerfile or an image; see ibuild run --help"}
	}
	if rest := c.Args().Tail(); len(rest) > 0 && strings.HasPrefix(rest[0], "-") && rest[0] != "--" {
		return nil, &usage{msg: fmt.Sprintf("%s comes after SOURCE, where the program's arguments are", rest[0]), hint: "flags of ibuild go before " + c.Args().First() + ", the program's own after --"}
	}
	job, err := readJob(c)
	if err != nil {
		return nil, err
	}
	plan, err := launch.NewPlan(launchOptions(c, job.Accelerator))
	if err != nil {
		return nil, err
	}
	cluster, err := openCluster(c)
	if err != nil {
		return nil, err
	}
	h, err := wire(c)
	if err != nil {
		return nil, err
	}
	r := &running{house: h, cli: c, mode: progressMode(c), job: job, plan: plan, cluster: cluster, out: c.App.Writer, errs: c.App.ErrWriter, onInterrupt: c.String("on-interrupt")}
	if !isStorage(c.String("output-dir")) {
		r.results = c.String("output-dir")
	}
	if there, err := os.ReadDir(r.results); r.results != "" && err == nil && len(there) > 0 { // better now than after hours
		h.close()
		return nil, &usage{msg: fmt.Sprintf("--output-dir %s is not empty, so results would be mixed with what is there", r.results), hint: "name a folder that is new, or leave the flag out: ibuild jobs result fetches them later"}
	}
	r.job.Namespace = cluster.Namespace
	r.job.Name = c.String("name")
	if r.job.Name == "" {
		r.job.Name = gke.NewName(baseName(c.Args().First()), strings.ToLower(rand.Text()[:5]))
	}
	for _, w := range plan.Warnings {
		say(r.mode, "warning: %s", w)
	}
	if job.Accelerator.Note != "" {
		say(r.mode, "note: %s", job.Accelerator.Note)
	}
	return r, nil
}

// baseName is what people know a source by: a file's or folder's name, the last part of an image's.
func baseName(src string) string {
	if src == "-" {
		return "stdin"
	}
	if abs, err := filepath.Abs(src); err == nil {
		if info, err := os.Stat(src); err == nil && info.IsDir() {
			return filepath.Base(abs)
		}
	}
	if named, err := reference.ParseNormalizedNamed(src); err == nil {
		if _, err := os.Stat(src); err != nil {
			return path.Base(reference.Path(named))
		}
	}
	name := filepath.Base(src)
	return strings.TrimSuffix(name, filepath.Ext(name))
}

func launchOptions(c *cli.Context, a gke.Accelerator) launch.Options {
	home, _ := os.UserHomeDir()
	dir, _ := os.Getwd()
	return launch.Options{
		Source: c.Args().First(), Stdin: c.App.Reader, File: c.String("file"), Frontend: c.String("frontend"), Args: programArgs(c.Args().Tail()),
		Mode: launch.Mode(c.String("mode")), Accelerator: a, Repository: c.String("repo"), Image: c.String("image"),
		BaseRepo: c.String("base-image-repo"), BaseTag: first(c.String("base-image-tag"), baseTag()), Python: c.String("python"),
		Folder: c.String("folder"), Carry: launch.Carry(c.String("carry")), NoBootstrap: c.Bool("no-bootstrap"),
		Getenv: os.Getenv, Home: home, Dir: dir,
	}
}

// programArgs are those of the program: what comes after the source, without the -- between them.
func programArgs(rest []string) []string {
	if len(rest) > 0 && rest[0] == "--" {
		return rest[1:]
	}
	return rest
}

// prepare has the image made and pushed, and puts it into the job.
func (r *running) prepare(ctx context.Context) error {
	means, err := r.means()
	if err != nil {
		return err
	}
	d, err := show(ctx, r.mode)
	if err != nil {
		return err
	}
	start := time.Now()
	means.Engine = r.engine(r.mode, d.progress)
	l, err := r.plan.Build(ctx, means)
	d.close()
	if err != nil {
		if ctx.Err() != nil {
			return context.Canceled
		}
		return err
	}
	if l.Base != nil && l.Base.Transferred != nil {
		sayNetwork(r.mode, *l.Base.Transferred)
	}
	say(r.mode, "image %s, in %s", l.Image, time.Since(start).Round(time.Millisecond))
	return r.put(l)
}

// means are what the image is built with, but for the engine.
func (r *running) means() (m launch.Means, err error) {
	o := &order{job: &job{house: r.house}, progress: r.mode}
	o.req.Builder = r.builder
	o.req.Outputs.Compression = usualCompression(r.settings.Build)
	o.req.Options.NoCache, o.req.Options.CacheNamespace = r.cli.Bool("no-cache"), r.settings.CacheNamespace
	if o.req.Options.Epoch, err = epoch(); err != nil {
		return m, err
	}
	if o.req.Plan = r.plan.BasePlan(); o.req.Plan != nil {
		if err := r.useRegistryConfig(o.req.Plan); err != nil {
			return m, err
		}
		if err := o.readSecrets(r.cli); err != nil {
			return m, err
		}
	}
	if o.req.Secrets, err = secretsprovider.NewStore(o.secrets); err != nil {
		return m, &usage{msg: err.Error()}
	}
	o.req.Machine = r.machine(r.cli.Context, r.mode)
	return launch.Means{Request: o.req, CacheFolder: first(os.Getenv("IBUILD_CACHE"), cache.DefaultDir())}, nil
}

// put fills in the job what its image decides.
func (r *running) put(l *launch.Launch) error {
	r.job.Image, r.job.Args, r.job.Dir, r.job.Facts = l.Image, l.Args, l.Dir, l.Facts
	repo, _, _ := strings.Cut(l.Image, "@")
	if l.Container != nil {
		if err := r.returnResults(l.Container, repo); err != nil {
			return err
		}
	}
	r.job.Command = l.Command()
	named, err := reference.ParseNormalizedNamed(repo)
	if err != nil {
		return err
	}
	if host := reference.Domain(named); r.cli.String("pull-secret") == "auto" && !isGoogle(host) {
		if r.job.PullConfig, err = login(r.credentials, host); err != nil {
			return err
		}
	}
	return nil
}

// returnResults says to the bootstrap where the results go, and with which login.
func (r *running) returnResults(to *contract.Request, repo string) error {
	to.Grace = r.job.Grace
	to.Timeout, r.job.Timeout = r.job.Timeout, 0 // the bootstrap's does not count pulling, and leaves time for results
	repo = first(r.cli.String("repo"), repo)
	way := r.cli.String("results-auth")
	if way == "none" || isStorage(r.cli.String("output-dir")) {
		return nil
	}
	named, err := reference.ParseNormalizedNamed(repo)
	if err != nil {
		return err
	}
	host := reference.Domain(named)
	to.Results = named.Name() + ":ibuild-result-" + r.job.Name + "-" + strings.ToLower(rand.Text()[:8]) // no other job of the name has it
	r.job.Facts[launch.ResultsFact] = to.Results
	to.PlainHTTP = r.registry.PlainHTTP(host)
	if way == "workload" {
		to.Auth = contract.AuthWorkload
		return nil
	}
	if r.job.ResultConfig, err = login(r.credentials, host); err != nil {
		return err
	}
	if r.job.ResultConfig != nil {
		if isGoogle(host) && shortLived(r.credentials, host) {
			say(r.mode, "warning: your login at %s is a token of Google's that ends within the hour; results of a job that takes longer are lost with it: --results-auth workload uses the pod's own identity", host)
		}
		to.Credential = path.Join(gke.ResultConfigFolder, "config.json")
	}
	return nil
}

// command is one of ibuild jobs about a job, for the cluster and namespace that it is in.
func (r *running) command(what, name string) string {
	text := "ibuild jobs " + what
	for _, flag := range []string{"kubeconfig", "context", "namespace"} {
		if value := r.cli.String(flag); value != "" {
			text += " --" + flag + " " + value
		}
	}
	return text + " " + name
}

// detached ends a run whose job goes on.
func (r *running) detached(run *gke.Run) error {
	if r.cli.Bool("quiet") {
		fmt.Fprintln(r.out, run.Name)
		return nil
	}
	say(r.mode, "%s shows its output, %s fetches its results", r.command("logs --follow", run.Name), r.command("result", run.Name))
	return nil
}

// notBuilt is the digest in a dry run, which makes no image.
const notBuilt = "sha256:0000000000000000000000000000000000000000000000000000000000000000"

// dryRun prints the manifests as they would be, and asks nobody.
func (r *running) dryRun() error {
	l := r.plan.Launch(first(r.cli.String("repo"), r.plan.Base) + "@" + notBuilt)
	if l.Container != nil && l.Container.Program == nil {
		l.Container.Program = append([]string{"the-program-of-the-image"}, r.plan.Args...)
	}
	if err := r.put(l); err != nil {
		return err
	}
	objects, err := gke.Manifests(r.job)
	if err != nil {
		return err
	}
	text, err := gke.YAML(objects)
	if err != nil {
		return err
	}
	fmt.Fprintln(r.out, "# A dry run makes no image: its digest is zeros here.")
	_, err = r.out.Write(text)
	return err
}
