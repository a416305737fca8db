package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/distribution/reference"
	"github.com/ibuild/ibuild/cache"
	"github.com/ibuild/ibuild/engine"
	"github.com/ibuild/ibuild/engine/anatomy"
	"github.com/ibuild/ibuild/engine/journal"
	"github.com/ibuild/ibuild/registry"
	"github.com/moby/buildkit/session/secrets/secretsprovider"
	"github.com/urfave/cli/v2"
)

func verifyCommand() *cli.Command {
	return &cli.Command{
		Name:      "verify",
		Usage:     "build again without any cache, and compare with the image of the last build",
		ArgsUsage: "SOURCE",
		Description: `Layers are compared by their uncompressed bytes; where these differ, the step that made the layer and the files
that are different are named. The image of the last build is taken from its registry, or from this machine as
far as it is there; --with compares with another one. Nothing is pushed, named or remembered.

   ibuild verify -t ghcr.io/me/train:v1 image.yaml
   SOURCE_DATE_EPOCH=0 ibuild verify --with ghcr.io/me/train:v1 train.py
   ibuild verify --ignore-times --files 50 .

Most commands write files with the time at which they run: --ignore-times takes such files for the same.

Exit codes: 0 reproducible, 1 not, or the build failed, 2 usage, or the source is not what was built,
3 credentials, 4 it cannot be told, or builder or registry out of reach, 130 cancelled.`,
		Flags: slices.Concat([]cli.Flag{
			tagFlag(),
			&cli.StringFlag{Name: "with", Usage: "compare with this `IMAGE`, a name in a registry or a file, in place of the last build's"},
			&cli.BoolFlag{Name: "ignore-times", Usage: "take files that differ in their times only for the same"},
			&cli.IntFlag{Name: "files", Value: 10, Usage: "`NUMBER` of files to name for each layer"},
			formatFlag(),
			progressFlag(),
			secretFlag(),
			noLockFlag(),
			alwaysNoCache(),
		}, sourceFlags(), builderFlags(), engineFlags()),
		Action: runVerify,
	}
}

// alwaysNoCache is the flag that what reads a source asks for: here it is on.
func alwaysNoCache() cli.Flag {
	f := noCacheFlag().(*cli.BoolFlag)
	f.Value, f.Hidden = true, true
	return f
}

func runVerify(c *cli.Context) error {
	format, err := oneOf(c, "format", "text", "json")
	if err != nil {
		return err
	}
	if err := checkProgress(c); err != nil {
		return err
	}
	if c.Int("files") < 0 {
		return &usage{msg: fmt.Sprintf("--files cannot be %d", c.Int("files"))}
	}
	j, err := open(c)
	if err != nil {
		return err
	}
	defer j.close()
	o := &order{job: j, progress: progressMode(c)}
	if err := readNames(c, o.req.Plan, &o.req.Outputs); err != nil {
		return err
	}
	r, err := o.verify(c)
	if err != nil {
		return err
	}
	return writeVerdict(c.App.Writer, format, r)
}

// verify builds again, and compares with the reference.
func (o *order) verify(c *cli.Context) (*anatomy.Report, error) {
	old, done, err := o.reference(c)
	if err != nil {
		return nil, cannotTell(err)
	}
	defer done()
	if _, err := anatomy.Read(c.Context, old); err != nil { // before a long build
		return nil, cannotTell(err)
	}
	dir, err := os.MkdirTemp("", "ibuild-verify-*")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	file, err := o.again(c, dir)
	if err != nil {
		return nil, err
	}
	now, closer, err := anatomy.FromFile(file)
	if err != nil {
		return nil, err
	}
	defer closer.Close()
	r, err := anatomy.Compare(c.Context, old, now, anatomy.Options{Files: c.Int("files"), IgnoreTimes: c.Bool("ignore-times")})
	if err == nil {
		r.New = "the build of " + o.req.Plan.Name + " just now"
	}
	return r, err
}

// cannotTell keeps the code of "not reproducible" for what is: an image that is not there to compare with is not.
func cannotTell(err error) error {
	if errors.Is(err, registry.ErrNotFound) || errors.Is(err, fs.ErrNotExist) {
		return cli.Exit(fmt.Sprintf("there is no image to compare with: %v", err), exitReach)
	}
	return err
}

// reference is the image to compare with.
func (o *order) reference(c *cli.Context) (anatomy.Source, func(), error) {
	if arg := c.String("with"); arg != "" {
		return o.image(c, arg)
	}
	name := o.req.RecordName()
	last, ok := journal.Open(o.cache).Newest(name, o.req.Source, func(b journal.Build) bool { return b.Result != nil })
	if !ok {
		return nil, nil, &usage{msg: "no build of " + name + " with an image is recorded on this machine", hint: "name the image to compare with: --with IMAGE"}
	}
	if err := o.sameSource(c.Context, &last); err != nil {
		return nil, nil, err
	}
	say(o.progress, "comparing with build %d", last.ID)
	for _, n := range last.Names {
		named, err := reference.ParseNormalizedNamed(n)
		if err != nil {
			continue // it was a name when it was recorded
		}
		pinned, err := reference.WithDigest(reference.TrimNamed(named), last.Result.Digest)
		if err != nil {
			return nil, nil, err
		}
		src, err := anatomy.FromRegistry(c.Context, o.registry, pinned)
		return src, func() {}, err
	}
	return anatomy.FromCache(o.cache, *last.Result), func() {}, nil
}

// sameSource makes sure that what would be built is what was built: else the images differ for other reasons.
func (o *order) sameSource(ctx context.Context, last *journal.Build) error {
	if last.Identity == "" {
		say(o.progress, "note: build %d has no identity, so its source may have been another one", last.ID)
		return nil
	}
	now, err := o.engine("quiet", nil).Identify(ctx, o.req)
	if err != nil {
		return err
	}
	if now != last.Identity {
		return &usage{msg: fmt.Sprintf("%s is not what build %d was made of any more", o.req.Plan.Name, last.ID),
			hint: "give the flags of that build, such as --platform; ibuild explain says what changed. Or name an image: --with IMAGE"}
	}
	return nil
}

// again builds without any cache, into an archive in dir. The engine gets a memory of its own: what this build
// makes is no result that another build may take.
func (o *order) again(c *cli.Context, dir string) (file string, err error) {
	if err := o.readSecrets(c); err != nil {
		return "", err
	}
	if o.req.Secrets, err = secretsprovider.NewStore(o.secrets); err != nil {
		return "", &usage{msg: err.Error()}
	}
	file = filepath.Join(dir, "image.tar")
	o.req.Machine = o.machine(c.Context, o.progress)
	o.req.Outputs.Push = false
	o.req.Outputs.Exports = []engine.Export{{Type: engine.OCIExport, Dest: file}}
	memory, err := cache.Open(filepath.Join(dir, "cache"))
	if err != nil {
		return "", err
	}
	defer memory.Close()
	d, err := show(c.Context, o.progress)
	if err != nil {
		return "", err
	}
	e := o.engine(o.progress, d.progress)
	e.Cache = memory
	_, err = e.Build(c.Context, o.req)
	d.close()
	if c.Context.Err() != nil {
		err = context.Canceled
	}
	return file, err
}

// verdict is a report with what follows from it.
type verdict struct {
	Reproducible string `json:"reproducible"` // yes, no or unknown
	*anatomy.Report
}

func writeVerdict(w io.Writer, format string, r *anatomy.Report) error {
	v := verdict{"no", r}
	switch {
	case r.Same():
		v.Reproducible = "yes"
	case r.Unknown() && !r.Differs():
		v.Reproducible = "unknown"
	}
	if err := v.write(w, format); err != nil {
		return err
	}
	switch v.Reproducible {
	case "no":
		return &childExit{code: exitBuild}
	case "unknown":
		return &childExit{code: exitReach}
	}
	return nil
}

func (v verdict) write(w io.Writer, format string) error {
	if format == "json" {
		return writeJSON(w, v)
	}
	w = plainText{w}
	fmt.Fprintf(w, "old: %s\nnew: %s\n", v.Old, v.New)
	end := map[string]string{
		"yes": "reproducible", "no": "not reproducible", "unknown": "cannot tell: not all layers could be compared",
	}[v.Reproducible]
	err := v.WriteText(w)
	_, werr := fmt.Fprintln(w, end)
	return errors.Join(err, werr)
}
