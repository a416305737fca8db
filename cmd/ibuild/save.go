package main

import (
	"os"
	"slices"
	"strings"

	"github.com/distribution/reference"
	"github.com/ibuild/ibuild/registry"
	"github.com/urfave/cli/v2"
)

func saveCommand() *cli.Command {
	return &cli.Command{
		Name:      "save",
		Usage:     "write images of registries into one archive",
		ArgsUsage: "IMAGE…",
		Description: `The images come from their registries: ibuild has no daemon that would keep some. The archive has the names that are
given here, is the same bytes for the same images, and appears when it is whole. ibuild load, docker load, podman
and skopeo read it.

   ibuild save -o train.tar ghcr.io/me/train:v1
   ibuild save -o all.tar --platform linux/amd64 ghcr.io/me/train:v1 ghcr.io/me/serve:v1
   ibuild save -o - --format docker --platform linux/amd64 ghcr.io/me/train:v1 | ssh host docker load

An OCI archive (--format oci) has all platforms unless --platform chooses; a docker archive has one for each image.

Exit codes: 0 written, 1 not written, 2 usage, or there is no such platform, 3 credentials, 4 a registry is out of reach.`,
		Flags: slices.Concat([]cli.Flag{
			&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "`FILE` to write, - for standard output"},
			&cli.StringFlag{Name: "format", Value: "oci", Usage: "`FORMAT` of the archive: oci or docker"},
		}, transferFlags()),
		Action: runSave,
	}
}

func runSave(c *cli.Context) error {
	t, err := newTransfer(c)
	if err != nil {
		return err
	}
	format, err := oneOf(c, "format", string(registry.ArchiveOCI), string(registry.ArchiveDocker))
	if err != nil {
		return err
	}
	out := c.String("output")
	t.archiveOut = out == "-"
	switch {
	case out == "":
		return &usage{msg: "the file to write is missing", hint: "add -o FILE, or -o - for standard output"}
	case t.archiveOut && c.Bool("json"):
		return &usage{msg: "--json and -o - both want standard output", hint: "write the archive to a file"}
	case t.archiveOut && terminal(os.Stdout):
		return &usage{msg: "an archive is nothing to show on a terminal", hint: "send it to a file (-o FILE) or another program"}
	}
	args, err := someArgs(c, "")
	if err != nil {
		return err
	}
	var from []imagePlace
	for _, a := range args {
		p, err := parsePlace(a)
		if err != nil {
			return err
		}
		if p.kind != "" {
			return &usage{msg: a + " is in a file, and save is for images in registries", hint: "write ibuild copy " + a + " oci-archive:FILE"}
		}
		from = append(from, p)
	}
	if t.house, err = wire(c); err != nil {
		return err
	}
	defer t.house.close()
	return t.run("save "+strings.Join(args, ", "), func() error { return t.save(from, out, registry.ArchiveFormat(format)) })
}

func (t *transfer) save(from []imagePlace, out string, format registry.ArchiveFormat) error {
	ctx := t.c.Context
	var list []registry.Delivery
	for _, p := range from {
		src, done, err := p.open(ctx, t.house, t.traffic)
		if err != nil {
			return err
		}
		defer done()
		parcel, err := t.pack(src)
		if err != nil {
			return err
		}
		d := registry.Delivery{Parcel: parcel}
		if _, digested := p.ref.(reference.Digested); !digested {
			d.Names = []string{p.ref.String()}
		}
		list = append(list, d)
		t.brought(src.Name(), out, parcel)
	}
	return writeArchive(ctx, out, format, list, t.traffic)
}
