package main

import (
	"fmt"
	"io"
	"slices"

	"github.com/distribution/reference"
	"github.com/ibuild/ibuild/engine"
	"github.com/ibuild/ibuild/frontends"
	"github.com/urfave/cli/v2"
)

func existsCommand() *cli.Command {
	return &cli.Command{
		Name:      "exists",
		Usage:     "say whether an image is in its registry, for all platforms",
		ArgsUsage: "SOURCE|NAME",
		Description: `NAME is an image; SOURCE is what build takes, and means the image that it would push: under the names of
-t, or under its own, whose tag is made from the image's identity where it names none. What is there as
a file or folder is a SOURCE. The registry is asked, with docker's credentials; no builder and no docker.

   ibuild exists image.yaml || ibuild build --push image.yaml
   ibuild exists --platform linux/amd64,linux/arm64 ghcr.io/me/train:v1

Exit codes: 0 it is there, 1 it is not, 2 usage, or something is wrong with the source, 3 credentials
for the images that the source starts from, 4 it cannot be told.`,
		Flags: slices.Concat([]cli.Flag{
			tagFlag(),
			&cli.StringFlag{Name: "format", Value: "text", Usage: "`FORMAT`: text or json"},
			noLockFlag(),
		}, sourceFlags(), []cli.Flag{builderFlag()}),
		Action: runExists,
	}
}

func runExists(c *cli.Context) error {
	format, err := oneOf(c, "format", "text", "json")
	if err != nil {
		return err
	}
	arg, err := oneArg(c, "")
	if err != nil {
		return err
	}
	lookup := lookupName
	if frontends.Here(arg) {
		lookup = lookupSource
	}
	list, err := lookup(c, arg)
	if err != nil {
		return err
	}
	if err := c.Context.Err(); err != nil {
		return err
	}
	all := overall(list)
	if err := writePresence(c.App.Writer, format, all, list); err != nil {
		return err
	}
	switch all {
	case engine.No:
		return &childExit{code: exitBuild}
	case engine.Unknown:
		return &childExit{code: exitReach}
	}
	return nil
}

// lookupSource asks for the image of a source.
func lookupSource(c *cli.Context, _ string) ([]engine.NamedPresence, error) {
	j, err := open(c)
	if err != nil {
		return nil, err
	}
	defer j.close()
	out := &j.req.Outputs
	if err := readNames(c, j.req.Plan, out); err != nil {
		return nil, err
	}
	if len(out.Names)+len(out.ByIdentity) == 0 {
		return nil, &usage{msg: j.req.Plan.Name + " names no image", hint: "add -t REGISTRY/NAME[:TAG]"}
	}
	return j.engine("quiet", nil).Lookup(c.Context, j.req)
}

// lookupName asks for an image by its name.
func lookupName(c *cli.Context, ref string) ([]engine.NamedPresence, error) {
	named, err := reference.ParseNormalizedNamed(ref)
	if err != nil {
		return nil, &usage{msg: fmt.Sprintf("%s is no file or folder, and no name of an image: %v", ref, err), hint: nameHint}
	}
	if len(c.StringSlice("tag")) > 0 {
		return nil, &usage{msg: "-t is for a source, and " + ref + " is no file or folder", hint: "leave -t out to ask for the image " + ref}
	}
	list, err := parsePlatforms(c.StringSlice("platform"))
	if err != nil {
		return nil, err
	}
	h, err := wire(c)
	if err != nil {
		return nil, err
	}
	defer h.close()
	name := reference.TagNameOnly(named).String()
	return []engine.NamedPresence{{Name: name, Presence: h.engine("quiet", nil).Exists(c.Context, name, list)}}, nil
}

// overall is a yes only when everything is there, and a no when something certainly is not.
func overall(list []engine.NamedPresence) engine.Existence {
	all := engine.Yes
	for _, p := range list {
		switch {
		case p.Exists == engine.No:
			return engine.No
		case p.Exists == engine.Unknown:
			all = engine.Unknown
		}
	}
	return all
}

// presence is the JSON of one name.
type presence struct {
	Name   string `json:"name"`
	Exists string `json:"exists"`
	Digest string `json:"digest,omitempty"`
	Reason string `json:"reason,omitempty"`
}

func writePresence(w io.Writer, format string, all engine.Existence, list []engine.NamedPresence) error {
	images := []presence{}
	for _, p := range list {
		images = append(images, presence{p.Name, p.Exists.String(), p.Descriptor.Digest.String(), p.Reason})
	}
	if format == "json" {
		return writeJSON(w, struct {
			Exists string     `json:"exists"`
			Images []presence `json:"images"`
		}{all.String(), images})
	}
	w = plainText{w}
	for _, p := range images {
		var err error
		switch p.Exists {
		case "yes":
			_, err = fmt.Fprintf(w, "yes: %s@%s\n", p.Name, p.Digest)
		case "no":
			_, err = fmt.Fprintf(w, "no: %s\n", p.Reason)
		default:
			_, err = fmt.Fprintf(w, "cannot tell: %s\n", p.Reason)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
