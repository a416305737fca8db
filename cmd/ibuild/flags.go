package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/containerd/platforms"
	"github.com/distribution/reference"
	"github.com/ibuild/ibuild/engine"
	"github.com/moby/buildkit/session/secrets/secretsprovider"
	"github.com/moby/buildkit/util/suggest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/tonistiigi/go-csvvalue"
	"github.com/urfave/cli/v2"
)

// later are flags of `docker buildx build` that people will type and that come with a later version.
var later = []string{
	"add-host", "allow", "annotation", "attest", "build-context", "call", "cgroup-parent", "check",
	"load", "network", "no-cache-filter", "no-source-map", "provenance", "sbom", "shm-size", "ssh", "ulimit",
}

// usageError says what is wrong with the flags of a command.
func usageError(c *cli.Context, err error, _ bool) error {
	hint := "see " + c.Command.HelpName + " --help"
	if name, found := strings.CutPrefix(err.Error(), "flag needs an argument: -"); found {
		return &usage{msg: dashed(strings.TrimLeft(name, "-")) + " needs a value", hint: hint}
	}
	name, found := strings.CutPrefix(err.Error(), "flag provided but not defined: -")
	if !found {
		return &usage{msg: err.Error(), hint: hint}
	}
	name = strings.TrimLeft(name, "-")
	if slices.Contains(later, name) {
		return &usage{msg: "--" + name + " is not supported yet", hint: "leave it out, or use docker buildx for this build"}
	}
	var known []string
	for _, f := range c.Command.Flags {
		known = append(known, f.Names()...)
	}
	if match, ok := suggest.Search(name, known, false); ok && len(name) > 1 {
		hint = "did you mean --" + match + "?"
	}
	for _, f := range c.App.Flags {
		if slices.Contains(f.Names(), name) {
			hint = "it goes before the command: ibuild " + dashed(name) + " … " + c.Command.Name
		}
	}
	return &usage{msg: "there is no flag " + dashed(name), hint: hint}
}

// dashed is a flag as people write it.
func dashed(name string) string {
	if len(name) == 1 {
		return "-" + name
	}
	return "--" + name
}

// oneArg returns the only argument, or fallback when there is none.
func oneArg(c *cli.Context, fallback string) (string, error) {
	list, err := someArgs(c, fallback)
	if err != nil {
		return "", err
	}
	if len(list) > 1 {
		return "", &usage{msg: c.Command.HelpName + " takes one argument: got " + strings.Join(list, " "), hint: "write " + c.Command.UsageText}
	}
	return list[0], nil
}

// someArgs returns the arguments, or fallback when there are none. Flags after them would be taken for arguments.
func someArgs(c *cli.Context, fallback string) ([]string, error) {
	for _, a := range c.Args().Tail() {
		if len(a) > 1 && strings.HasPrefix(a, "-") {
			return nil, &usage{msg: fmt.Sprintf("the flag %s comes after %s", a, c.Args().First()), hint: "flags go first: " + c.Command.UsageText}
		}
	}
	switch {
	case c.NArg() > 0:
		return c.Args().Slice(), nil
	case fallback == "":
		return nil, &usage{msg: "the source is missing", hint: "write " + c.Command.UsageText}
	}
	return []string{fallback}, nil
}

// noArgs is for commands that take none.
func noArgs(c *cli.Context) error {
	if c.NArg() > 0 {
		return &usage{msg: c.Command.HelpName + " takes no arguments: got " + strings.Join(c.Args().Slice(), " ")}
	}
	return nil
}

// oneOf is the value of a flag that takes one of a few words.
func oneOf(c *cli.Context, flag string, words ...string) (string, error) {
	value := c.String(flag)
	if slices.Contains(words, value) {
		return value, nil
	}
	last := len(words) - 1
	return "", &usage{msg: fmt.Sprintf("--%s cannot be %q", flag, value), hint: "write " + strings.Join(words[:last], ", ") + " or " + words[last]}
}

func parsePlatforms(list []string) ([]ocispecs.Platform, error) {
	var out []ocispecs.Platform
	seen := map[string]bool{}
	for _, s := range list {
		for _, one := range strings.Split(s, ",") {
			p, err := platforms.Parse(strings.TrimSpace(one))
			if err != nil || !knownPlatform(p) {
				return nil, &usage{msg: fmt.Sprintf("--platform: %q is not a platform that ibuild builds for", one), hint: platformHint(one)}
			}
			p = platforms.Normalize(p)
			if id := platforms.FormatAll(p); !seen[id] {
				seen[id] = true
				out = append(out, p)
			}
		}
	}
	return out, nil
}

// platformNames are the platforms of Linux images that registries hold.
func platformNames() []string {
	return []string{"linux/amd64", "linux/arm64", "linux/arm/v7", "linux/arm/v6", "linux/386", "linux/ppc64le", "linux/s390x", "linux/riscv64"}
}

func knownPlatform(p ocispecs.Platform) bool {
	id := platforms.Format(platforms.Normalize(p))
	variants := []string{"linux/amd64/v2", "linux/amd64/v3", "linux/amd64/v4", "linux/arm64/v9"}
	return slices.ContainsFunc(append(platformNames(), variants...), func(name string) bool {
		return platforms.Format(platforms.Normalize(platforms.MustParse(name))) == id
	})
}

func platformHint(s string) string {
	if match, ok := suggest.Search(s, platformNames(), false); ok {
		return "did you mean " + match + "?"
	}
	return "known are " + strings.Join(platformNames(), ", ")
}

// nameHint is how the name of an image is written.
const nameHint = "write [registry/]name[:tag] in lower case, e.g. ghcr.io/me/train:v1"

func parseNames(list []string) ([]reference.NamedTagged, error) {
	var out []reference.NamedTagged
	for _, s := range list {
		named, err := reference.ParseNormalizedNamed(s)
		if err != nil {
			return nil, &usage{msg: fmt.Sprintf("-t %s: %v", s, err), hint: nameHint}
		}
		tagged, ok := reference.TagNameOnly(named).(reference.NamedTagged)
		if _, digested := named.(reference.Digested); !ok || digested {
			return nil, &usage{msg: fmt.Sprintf("-t %s: a name for a new image has a tag, not a digest", s)}
		}
		if !slices.ContainsFunc(out, func(o reference.NamedTagged) bool { return o.String() == tagged.String() }) {
			out = append(out, tagged)
		}
	}
	return out, nil
}

func parsePairs(flag string, list []string, environment bool) (map[string]string, error) {
	out := map[string]string{}
	for _, s := range list {
		k, v, ok := strings.Cut(s, "=")
		if k == "" || !ok && !environment {
			return nil, &usage{msg: fmt.Sprintf("%s %s: write KEY=VALUE", flag, s)}
		}
		if !ok { // as docker does: take it from the environment, and leave it out when it is not there
			if v, ok = os.LookupEnv(k); !ok {
				continue
			}
		}
		out[k] = v
	}
	return out, nil
}

// parseSecrets reads --secret id=ID[,src=FILE|,env=NAME]. Without a source, the variable or file called ID is taken.
func parseSecrets(list []string) (map[string]bool, []secretsprovider.Source, error) {
	ids := map[string]bool{}
	var sources []secretsprovider.Source
	for _, s := range list {
		src, err := parseSecret(s)
		if err != nil {
			return nil, nil, err
		}
		ids[src.ID] = true
		sources = append(sources, src)
	}
	return ids, sources, nil
}

func parseSecret(s string) (secretsprovider.Source, error) {
	var src secretsprovider.Source
	fields, err := csvvalue.Fields(s, nil)
	if err != nil {
		return src, &usage{msg: "--secret: " + err.Error()}
	}
	kind := ""
	for _, f := range fields {
		k, v, _ := strings.Cut(f, "=")
		switch strings.ToLower(k) {
		case "type":
			kind = v
		case "id":
			src.ID = v
		case "src", "source":
			src.FilePath = v
		case "env":
			src.Env = v
		default:
			return src, &usage{msg: fmt.Sprintf("--secret: unknown key %q", k), hint: "write id=ID,src=FILE or id=ID,env=NAME"}
		}
	}
	if src.ID == "" {
		return src, &usage{msg: "--secret: the id is missing", hint: "write id=ID,src=FILE or id=ID,env=NAME"}
	}
	if kind != "" && kind != "env" && kind != "file" {
		return src, &usage{msg: fmt.Sprintf("--secret: there is no type %q", kind), hint: "write type=file or type=env"}
	}
	if kind == "env" && src.Env == "" {
		src.Env, src.FilePath = src.FilePath, ""
	}
	if src.FilePath == "" && src.Env == "" {
		if _, ok := os.LookupEnv(src.ID); ok && kind != "file" {
			src.Env = src.ID
		} else {
			src.FilePath = src.ID
		}
	}
	if src.Env != "" {
		if _, ok := os.LookupEnv(src.Env); !ok {
			return src, &usage{msg: fmt.Sprintf("--secret id=%s: the environment variable %s is not set", src.ID, src.Env)}
		}
	} else if _, err := os.Stat(src.FilePath); err != nil {
		return src, &usage{msg: fmt.Sprintf("--secret id=%s: %v", src.ID, err), hint: "name a file with src=FILE or a variable with env=NAME"}
	}
	return src, nil
}

func parseExports(list []string) ([]engine.Export, bool, error) {
	var out []engine.Export
	push := false
	for _, s := range list {
		e, err := parseExport(s)
		if err != nil {
			return nil, false, err
		}
		if e.Type == "registry" || e.Type == "image" && e.Attrs["push"] == "true" {
			push = true
			continue
		}
		if slices.ContainsFunc(out, func(o engine.Export) bool { return o.Dest == e.Dest }) {
			return nil, false, &usage{msg: fmt.Sprintf("-o %s: two outputs go to %s", s, e.Dest)}
		}
		out = append(out, e)
	}
	return out, push, nil
}

func parseExport(s string) (engine.Export, error) {
	e := engine.Export{Attrs: map[string]string{}}
	hint := "write type=oci|docker|tar,dest=FILE or type=local,dest=FOLDER"
	fields, err := csvvalue.Fields(s, nil)
	if err != nil {
		return e, &usage{msg: "-o: " + err.Error(), hint: hint}
	}
	if len(fields) == 1 && !strings.Contains(fields[0], "=") { // -o FOLDER, as in docker
		e.Type, e.Dest = engine.LocalExport, fields[0]
		if e.Dest == "-" {
			e.Type = engine.TarExport
		}
		return e, nil
	}
	for _, f := range fields {
		k, v, ok := strings.Cut(f, "=")
		if !ok {
			return e, &usage{msg: fmt.Sprintf("-o %s: %q has no value", s, f), hint: hint}
		}
		switch k {
		case "type":
			e.Type = engine.ExportType(v)
		case "dest":
			e.Dest = v
		default:
			e.Attrs[k] = v
		}
	}
	return checkExport(s, e, hint)
}

func checkExport(s string, e engine.Export, hint string) (engine.Export, error) {
	known := []string{"oci", "docker", "tar", "local"}
	if e.Type == "registry" || e.Type == "image" && e.Attrs["push"] == "true" {
		for k := range e.Attrs {
			if k != "push" {
				hint := "name the image with -t"
				if strings.HasPrefix(k, "compression") {
					hint = "take --compression and --compression-level"
				}
				return e, &usage{msg: fmt.Sprintf("-o %s: %q is not supported for a push", s, k), hint: hint}
			}
		}
		return e, nil
	}
	if !slices.Contains(known, string(e.Type)) {
		if match, ok := suggest.Search(string(e.Type), known, false); ok {
			hint = "did you mean type=" + match + "?"
		}
		return e, &usage{msg: fmt.Sprintf("-o %s: there is no output of type %q", s, e.Type), hint: hint}
	}
	for k := range e.Attrs {
		if !slices.Contains([]string{"name", "compression", "compression-level", "force-compression"}, k) {
			return e, &usage{msg: fmt.Sprintf("-o %s: unknown key %q", s, k), hint: hint}
		}
	}
	switch {
	case e.Dest == "" && e.Type == engine.LocalExport:
		return e, &usage{msg: fmt.Sprintf("-o %s: dest=FOLDER is missing", s)}
	case e.Dest == "-" && e.Type == engine.LocalExport:
		return e, &usage{msg: fmt.Sprintf("-o %s: a folder is not written to standard output", s), hint: "take type=tar"}
	case e.Dest == "" && terminal(os.Stdout):
		return e, &usage{msg: fmt.Sprintf("-o %s: dest=FILE is missing (an archive is not written to a terminal)", s)}
	case e.Dest == "":
		e.Dest = "-"
	}
	if e.Dest != "-" {
		if _, err := os.Stat(filepath.Dir(e.Dest)); err != nil {
			return e, &usage{msg: fmt.Sprintf("-o %s: %v", s, err), hint: "make the folder first"}
		}
	}
	return e, nil
}

// epoch reads SOURCE_DATE_EPOCH (https://reproducible-builds.org/specs/source-date-epoch/).
func epoch() (*time.Time, error) {
	s := os.Getenv("SOURCE_DATE_EPOCH")
	if s == "" {
		return nil, nil
	}
	n, err := strconv.ParseInt(s, 10, 64)
	const lastYear = 253402300799 // the end of 9999, the last year that JSON's times can have
	if err != nil || n < 0 || n > lastYear {
		return nil, &usage{msg: fmt.Sprintf("SOURCE_DATE_EPOCH=%s is not a number of seconds", s)}
	}
	t := time.Unix(n, 0).UTC()
	return &t, nil
}
