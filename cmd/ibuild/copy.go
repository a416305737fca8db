package main

import (
	"strings"

	"github.com/urfave/cli/v2"
)

func copyCommand() *cli.Command {
	return &cli.Command{
		Name:      "copy",
		Usage:     "copy an image between registries, folders and archives, with its digest",
		ArgsUsage: "SOURCE DESTINATION…",
		Description: `SOURCE and DESTINATION are names of images in registries, or
   oci:FOLDER[:TAG]            an OCI layout; a new image is put beside those that are there
   oci-archive:FILE[:TAG]      a tar archive of one; as a destination it is written anew
   docker-archive:FILE[:NAME]  what docker save writes and docker load reads, for one platform

   ibuild copy ghcr.io/me/train:v1 registry.example.com/team/train:v1
   ibuild copy --platform linux/amd64,linux/arm64 debian:stable-slim ghcr.io/me/debian:stable-slim
   ibuild copy ghcr.io/me/train:v1 ghcr.io/me/train:latest oci:./mirror:train
   ibuild copy oci:./mirror:train ghcr.io/me/train:v2

Within one registry layers are mounted, so none of their bytes move; between two they are streamed, and what is cut
off goes on. Tags are set last. An image for several platforms is copied whole, attestations included; with
--platform it becomes an index of those images and their attestations, or the image itself when that is all. What
refers to an image from outside (signatures, the referrers of its digest) is not copied.

Exit codes: 0 copied, 1 not copied, 2 usage, or there is no such file or platform, 3 credentials, 4 a registry is out of reach.`,
		Flags:  transferFlags(),
		Action: runCopy,
	}
}

func runCopy(c *cli.Context) error {
	t, err := newTransfer(c)
	if err != nil {
		return err
	}
	args, err := someArgs(c, "")
	if err != nil {
		return err
	}
	if len(args) < 2 {
		return &usage{msg: "the destination is missing", hint: "write " + c.Command.UsageText}
	}
	from, err := parsePlace(args[0])
	if err != nil {
		return err
	}
	var to []imagePlace
	for _, a := range args[1:] {
		p, err := parseDestination(a)
		if err != nil {
			return err
		}
		to = append(to, p)
	}
	if t.house, err = wire(c); err != nil {
		return err
	}
	defer t.house.close()
	return t.run("copy "+args[0]+" to "+strings.Join(args[1:], ", "), func() error { return t.copy(from, to) })
}

func (t *transfer) copy(from imagePlace, to []imagePlace) error {
	ctx := t.c.Context
	src, done, err := from.open(ctx, t.house, t.traffic)
	if err != nil {
		return err
	}
	defer done()
	parcel, err := t.pack(src)
	if err != nil {
		return err
	}
	for _, p := range to {
		if err := p.put(ctx, t.house, parcel, t.traffic); err != nil {
			return err
		}
		t.brought(src.Name(), p.text, parcel)
	}
	return nil
}
