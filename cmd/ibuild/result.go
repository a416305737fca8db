package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ibuild/ibuild/engine"
	"github.com/ibuild/ibuild/registry"
	"github.com/urfave/cli/v2"
)

func (o *order) sayResult(res *engine.Result, took time.Duration) {
	how := map[engine.How]string{
		engine.HowKnown:     "nothing changed: no builder was needed",
		engine.HowAssembled: "only code changed: put together without a builder",
		engine.HowSolved:    "built by " + res.Builder,
		engine.HowBase:      "the image is its base",
	}[res.How]
	if res.How == engine.HowAssembled && res.Builder != "" {
		how = "environment built by " + res.Builder + ", code put on top"
	}
	say(o.progress, "%s, in %s", how, took.Round(time.Millisecond))
	for _, n := range res.Names {
		if res.How == engine.HowBase {
			say(o.progress, "image %s", n)
			continue
		}
		say(o.progress, "pushed %s@%s", n, res.Descriptor.Digest)
	}
	for _, e := range o.req.Outputs.Exports {
		if e.Dest != "-" {
			say(o.progress, "wrote %s", e.Dest)
		}
	}
	if res.Transferred != nil {
		sayNetwork(o.progress, *res.Transferred)
	}
	for _, w := range res.Warnings {
		say(o.progress, "warning: %s", w)
	}
}

// sayNetwork says what a command moved, and what it did not have to.
func sayNetwork(mode string, t registry.Transferred) {
	if text := engine.Network(t); text != "" {
		say(mode, "network: %s", text)
	}
}

// network is what a command moved, for programs: numbers of bytes and of blobs.
type network struct {
	Sent    int64        `json:"sentBytes"`
	Fetched int64        `json:"fetchedBytes"`
	Moved   networkTally `json:"moved"`
	There   networkTally `json:"there"`
	Mounted networkTally `json:"mounted"`
}

type networkTally struct {
	Blobs int   `json:"blobs"`
	Bytes int64 `json:"bytes"`
}

func newNetwork(t registry.Transferred) network {
	return network{Sent: t.Sent, Fetched: t.Fetched, Moved: networkTally(t.Moved), There: networkTally(t.There), Mounted: networkTally(t.Mounted)}
}

// metadata has the keys of `docker buildx build --metadata-file`, and ibuild.network.
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
	if res.Transferred != nil {
		m["ibuild.network"] = newNetwork(*res.Transferred)
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
	archive := slices.ContainsFunc(o.req.Outputs.Exports, func(e engine.Export) bool { return e.Dest == "-" })
	switch {
	case !c.Bool("quiet") || archive:
	case res.How == engine.HowBase: // its digest alone does not say where it is
		fmt.Fprintln(c.App.Writer, res.Names[0])
	case res.Descriptor.Digest != "":
		fmt.Fprintln(c.App.Writer, res.Descriptor.Digest)
	}
	return errors.Join(errs...)
}
