package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/containerd/platforms"
	"github.com/distribution/reference"
	"github.com/ibuild/ibuild/cache"
	"github.com/ibuild/ibuild/engine/anatomy"
	"github.com/ibuild/ibuild/engine/journal"
	"github.com/ibuild/ibuild/frontends"
	"github.com/ibuild/ibuild/llb"
	"github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/urfave/cli/v2"
)

func inspectCommand() *cli.Command {
	return &cli.Command{
		Name:      "inspect",
		Usage:     "show what an image is made of: config, layers with their steps, base, and the build that made it",
		ArgsUsage: "NAME|FILE",
		Description: `NAME is an image in a registry, FILE an archive (-o type=oci, -o type=docker) or a folder with an OCI layout. No
layer is read. The source and the build are shown when the build was on this machine.

   ibuild inspect ghcr.io/me/train:v1
   ibuild inspect --platform linux/arm64 --format json ghcr.io/me/train:v1
   ibuild inspect app.tar

Exit codes: 0 shown, 1 there is no such image, 2 usage, or the file holds no image, 3 credentials, 4 registry out of reach.`,
		Flags: []cli.Flag{
			formatFlag(),
			&cli.StringSliceFlag{Name: "platform", Usage: "show this `OS/ARCH` only; several are allowed, also with commas"},
		},
		Action: runInspect,
	}
}

// inspection is what inspect has to say. The sizes are in bytes, as they are transferred.
type inspection struct {
	Name      string           `json:"name"`
	Digest    digest.Digest    `json:"digest"`
	MediaType string           `json:"mediaType"`
	Platforms []inspectedImage `json:"platforms"`
	// Others are entries of an index that are no images to run.
	Others []inspectedOther `json:"others,omitempty"`
	// Build is the newest build on this machine that had this result.
	Build *journal.Build `json:"build,omitempty"`
}

type inspectedOther struct {
	Digest digest.Digest `json:"digest"`
	Kind   string        `json:"kind"`
}

type inspectedImage struct {
	Platform string           `json:"platform"`
	Digest   digest.Digest    `json:"digest"`
	Size     int64            `json:"size"` // of all layers
	Identity string           `json:"identity,omitempty"`
	Base     string           `json:"base,omitempty"`
	Config   json.RawMessage  `json:"config"`
	Layers   []inspectedLayer `json:"layers"`

	image *anatomy.Image
}

type inspectedLayer struct {
	Digest digest.Digest `json:"digest"`
	DiffID digest.Digest `json:"diffID"`
	Size   int64         `json:"size"`
	Step   string        `json:"step,omitempty"`
}

func runInspect(c *cli.Context) error {
	format, err := oneOf(c, "format", "text", "json")
	if err != nil {
		return err
	}
	arg, err := oneArg(c, "")
	if err != nil {
		return err
	}
	h, err := wire(c)
	if err != nil {
		return err
	}
	defer h.close()
	src, done, err := h.image(c, arg)
	if err != nil {
		return err
	}
	defer done()
	contents, err := anatomy.Read(c.Context, src)
	if err != nil {
		return err
	}
	i := inspect(src.Name(), contents, journal.Open(h.cache))
	if err := i.only(c); err != nil {
		return err
	}
	if format == "json" {
		return writeJSON(c.App.Writer, i)
	}
	return i.write(plainText{c.App.Writer}, time.Local)
}

// image opens an image in a file, or in a registry. The caller calls done after the last use of it.
func (h *house) image(c *cli.Context, arg string) (src anatomy.Source, done func(), err error) {
	if frontends.Here(arg) && arg != "-" {
		src, closer, err := anatomy.FromFile(arg)
		if err != nil {
			return nil, nil, &usage{msg: err.Error(), hint: "give an archive as -o type=oci writes it, or the name of an image"}
		}
		return src, func() { _ = closer.Close() }, nil // it was read only
	}
	named, err := reference.ParseNormalizedNamed(arg)
	if err != nil {
		return nil, nil, &usage{msg: fmt.Sprintf("%s is no file, and no name of an image: %v", arg, err), hint: nameHint}
	}
	src, err = anatomy.FromRegistry(c.Context, h.registry, reference.TagNameOnly(named))
	return src, func() {}, err
}

func inspect(name string, contents *anatomy.Contents, log journal.Journal) *inspection {
	i := &inspection{Name: name, Digest: contents.Root.Digest, MediaType: contents.Root.MediaType, Platforms: []inspectedImage{}}
	for _, o := range contents.Others {
		i.Others = append(i.Others, inspectedOther{o.Digest, first(o.ArtifactType, o.Annotations["vnd.docker.reference.type"], o.MediaType)})
	}
	made := []digest.Digest{i.Digest}
	for _, img := range contents.Images {
		made = append(made, img.Manifest.Digest)
	}
	var graph *llb.Outline // nil when it is not known
	if b, ok := log.Made(made...); ok {
		i.Build = &b
		graph, _ = log.Outline(b)
	}
	for n := range contents.Images {
		i.Platforms = append(i.Platforms, inspectImage(&contents.Images[n], graph))
	}
	return i
}

func inspectImage(img *anatomy.Image, graph *llb.Outline) inspectedImage {
	out := inspectedImage{Platform: img.Platform, Digest: img.Manifest.Digest, Config: img.RawConfig, image: img, Layers: []inspectedLayer{}}
	for _, l := range img.Layers {
		out.Size += l.Desc.Size
		out.Layers = append(out.Layers, inspectedLayer{l.Desc.Digest, l.DiffID, l.Desc.Size, l.Step})
	}
	for _, kv := range img.Config.Config.Env {
		if id, ok := strings.CutPrefix(kv, llb.ImageIDVariable+"="); ok {
			out.Identity = id
		}
	}
	out.Base = baseOf(img)
	if out.Base == "" && graph != nil {
		out.Base = graph.Base(img.Platform)
	}
	return out
}

// baseOf is the base as the image itself names it, in the annotations that OCI has for this; "" when it does not.
func baseOf(img *anatomy.Image) string {
	for _, from := range []map[string]string{img.Annotations, img.Config.Config.Labels} {
		name, at := from[ocispecs.AnnotationBaseImageName], from[ocispecs.AnnotationBaseImageDigest]
		if name != "" && at != "" {
			return name + "@" + at
		}
		if name+at != "" {
			return name + at
		}
	}
	return ""
}

// only leaves the platforms that the command line names.
func (i *inspection) only(c *cli.Context) error {
	list, err := parsePlatforms(c.StringSlice("platform"))
	if err != nil || len(list) == 0 {
		return err
	}
	var all []string
	for _, img := range i.Platforms {
		all = append(all, img.Platform)
	}
	var wanted []inspectedImage
	for _, p := range list {
		n := slices.Index(all, platforms.FormatAll(p))
		if n < 0 {
			return &usage{msg: fmt.Sprintf("%s has no image for %s", i.Name, platforms.Format(p)), hint: "it has " + strings.Join(all, ", ")}
		}
		wanted = append(wanted, i.Platforms[n])
	}
	i.Platforms = wanted
	return nil
}

// write shows it to people, with times of a place.
func (i *inspection) write(w io.Writer, at *time.Location) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row(table, "image", i.Name)
	row(table, "digest", i.Digest.String())
	row(table, "kind", fmt.Sprintf("%s, platforms: %d", i.MediaType, len(i.Platforms)))
	for _, o := range i.Others {
		row(table, "also has", o.Kind+" "+o.Digest.String())
	}
	if b := i.Build; b != nil {
		row(table, "made by", buildText(b, at))
		row(table, "from", strings.TrimSpace(b.Source+" ("+b.Kind+")"))
	}
	for n := range i.Platforms {
		i.Platforms[n].write(table)
	}
	return table.Flush()
}

func (img *inspectedImage) write(table io.Writer) {
	run := img.image.Config.Config
	fmt.Fprintf(table, "\n%s\n", img.Platform)
	row(table, "  manifest", img.Digest.String())
	row(table, "  identity", img.Identity)
	row(table, "  base", img.Base)
	if t := img.image.Config.Created; t != nil && !t.IsZero() {
		row(table, "  created", t.UTC().Format(time.RFC3339))
	}
	row(table, "  user", run.User)
	row(table, "  folder", run.WorkingDir)
	row(table, "  entrypoint", strings.Join(run.Entrypoint, " "))
	row(table, "  command", strings.Join(run.Cmd, " "))
	for _, kv := range run.Env {
		row(table, "  env", kv)
	}
	for _, k := range slices.Sorted(maps.Keys(run.Labels)) {
		row(table, "  label", k+"="+run.Labels[k])
	}
	row(table, "  layers", fmt.Sprintf("%d, %s", len(img.Layers), cache.FormatSize(img.Size)))
	for _, l := range img.Layers {
		row(table, "  "+cache.FormatSize(l.Size), l.Digest.Encoded()[:12]+"  "+first(llb.Short(l.Step, 120), "(the history does not name its step)"))
	}
}

// row writes a line of a table; without a value there is none.
func row(table io.Writer, name, value string) {
	if value != "" {
		fmt.Fprintf(table, "%s\t%s\n", name, flat(value))
	}
}
