package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/distribution/reference"
	"github.com/ibuild/ibuild/engine"
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

Exit codes: 0 it is there, 1 it is not, 2 usage, 4 it cannot be told.`,
		Flags: append([]cli.Flag{
			&cli.StringSliceFlag{Name: "tag", Aliases: []string{"t"}, Usage: "`NAME[:TAG]` of the image of a SOURCE; several are allowed"},
			&cli.StringFlag{Name: "format", Value: "text", Usage: "text or json"},
			noLock(),
		}, append(sourceFlags(), builderFlags()...)...),
		Action:       runExists,
		OnUsageError: usageError,
	}
}

func runExists(c *cli.Context) error {
	if f := c.String("format"); f != "text" && f != "json" {
		return &usage{msg: fmt.Sprintf("--format %s: text or json", f)}
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
	list, err := h.lookup(c, arg)
	if err != nil {
		return err
	}
	if err := c.Context.Err(); err != nil {
		return err
	}
	all := overall(list)
	if err := writePresence(os.Stdout, c.String("format"), all, list); err != nil {
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

// lookup asks for the image of a source, or for one by its name.
func (h *house) lookup(c *cli.Context, arg string) ([]engine.NamedPresence, error) {
	if _, err := os.Stat(arg); err != nil && arg != "-" {
		return lookupName(c, h.engine("quiet", nil), arg)
	}
	req, err := load(c, h, arg)
	if err != nil {
		return nil, err
	}
	warn(os.Stderr, "", req.Plan)
	if err := readNames(c, req.Plan, &req.Outputs); err != nil {
		return nil, err
	}
	if len(req.Outputs.Names)+len(req.Outputs.ByIdentity) == 0 {
		return nil, &usage{msg: req.Plan.Name + " names no image", hint: "add -t REGISTRY/NAME[:TAG]"}
	}
	return h.engine("quiet", nil).Lookup(c.Context, req) // after load, which takes the source's registry_config
}

func lookupName(c *cli.Context, e *engine.Engine, ref string) ([]engine.NamedPresence, error) {
	named, err := reference.ParseNormalizedNamed(ref)
	if err != nil {
		return nil, &usage{msg: fmt.Sprintf("%s is no file or folder, and no name of an image: %v", ref, err)}
	}
	if len(c.StringSlice("tag")) > 0 {
		return nil, &usage{msg: "-t is for a source, and " + ref + " is no file or folder"}
	}
	list, err := parsePlatforms(c.StringSlice("platform"))
	if err != nil {
		return nil, err
	}
	name := reference.TagNameOnly(named).String()
	return []engine.NamedPresence{{Name: name, Presence: e.Exists(c.Context, name, list)}}, nil
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
		enc := json.NewEncoder(w)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		return enc.Encode(struct {
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
