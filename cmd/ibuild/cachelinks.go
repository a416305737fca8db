package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/distribution/reference"
	"github.com/ibuild/ibuild/engine"
	"github.com/moby/buildkit/util/suggest"
	"github.com/tonistiigi/go-csvvalue"
	"github.com/urfave/cli/v2"
)

// cacheType is what --cache-from and --cache-to may say of one type of cache. The keys are BuildKit's
// (https://github.com/moby/buildkit#cache), as docker buildx takes them.
type cacheType struct {
	name     string
	both     []string // keys for reading and writing
	from, to []string // further ones
	needFrom []string // what cannot be left out
	needTo   []string
	noFrom   string // why it cannot be read by this name
}

func cacheTypes() []cacheType {
	stored := []string{"mode", "compression", "compression-level", "force-compression", "oci-mediatypes", "image-manifest", "ignore-error"}
	return []cacheType{
		{name: "registry", both: []string{"ref", "registry.insecure"}, to: stored, needFrom: []string{"ref"}, needTo: []string{"ref"}},
		{name: "inline", to: []string{"mode"}, noFrom: "name the image that it is in: type=registry,ref=NAME"},
		{name: "local", both: []string{"tag"}, from: []string{"src", "digest"}, to: append([]string{"dest", "reset"}, stored...),
			needFrom: []string{"src"}, needTo: []string{"dest"}},
		{name: "gha", both: []string{"url", "url_v2", "token", "scope", "timeout", "version", "repository", "ghtoken"}, to: []string{"mode", "ignore-error"}},
		{name: "s3", both: []string{"bucket", "region", "prefix", "manifests_prefix", "blobs_prefix", "name", "touch_refresh", "endpoint_url",
			"access_key_id", "secret_access_key", "session_token", "use_path_style", "upload_parallelism", "disable_accept_encoding", "retry_mode", "retry_max_attempts"},
			to: []string{"mode", "ignore-error"}},
		{name: "azblob", both: []string{"account_url", "account_name", "container", "prefix", "manifests_prefix", "blobs_prefix", "name", "secret_access_key"},
			to: []string{"mode", "ignore-error"}},
	}
}

// readCaches reads where results of steps may be found, and where they are put.
func (o *order) readCaches(c *cli.Context) (err error) {
	if o.req.CacheFrom, err = parseCacheLinks("--cache-from", c.StringSlice("cache-from"), os.LookupEnv); err != nil {
		return err
	}
	if o.req.CacheTo, err = parseCacheLinks("--cache-to", c.StringSlice("cache-to"), os.LookupEnv); err != nil {
		return err
	}
	o.req.CacheStrict = c.Bool("cache-strict")
	asked := len(o.req.CacheFrom)+len(o.req.CacheTo) > 0
	switch {
	case o.req.CacheStrict && len(o.req.CacheTo) == 0:
		return &usage{msg: "--cache-strict is about --cache-to, which is missing"}
	case asked && o.builderName() == "noop":
		return &usage{msg: "the builder noop runs no steps, so it neither reads nor writes caches", hint: "leave --cache-from and --cache-to out"}
	case o.inlineOnly() && !o.req.Outputs.Push && len(o.req.Outputs.Exports) == 0:
		return &usage{msg: "--cache-to type=inline puts the cache into the image, and no image is asked for", hint: "add --push or -o type=oci,dest=FILE"}
	}
	return nil
}

func (o *order) inlineOnly() bool {
	return slices.ContainsFunc(o.req.CacheTo, func(l engine.CacheLink) bool { return l.Type == "inline" })
}

// parseCacheLinks reads the values of --cache-from or --cache-to as docker buildx does: NAME[,NAME...], or
// type=TYPE,KEY=VALUE,... No error repeats what may be a credential: it names fields by number and key.
func parseCacheLinks(flag string, list []string, lookup func(string) (string, bool)) ([]engine.CacheLink, error) {
	var out []engine.CacheLink
	for i, s := range list {
		at := flag
		if len(list) > 1 {
			at = fmt.Sprintf("%s, the %s one", flag, ordinal(i+1))
		}
		found, err := parseCacheLink(at, flag == "--cache-to", s, lookup)
		if err != nil {
			return nil, err
		}
		for _, l := range found {
			if slices.ContainsFunc(out, func(o engine.CacheLink) bool { return sameCache(o, l) }) {
				return nil, &usage{msg: fmt.Sprintf("%s: %s is named twice", at, l)}
			}
			out = append(out, l)
		}
	}
	return out, nil
}

// sameCache says whether two links would write over one another.
func sameCache(a, b engine.CacheLink) bool {
	return a.Type == b.Type && (a.Type == "inline" || a.String() == b.String() && a.Attrs["endpoint_url"] == b.Attrs["endpoint_url"] && a.Attrs["account_url"] == b.Attrs["account_url"])
}

func ordinal(n int) string {
	if n%100 < 11 || n%100 > 13 {
		switch n % 10 {
		case 1:
			return strconv.Itoa(n) + "st"
		case 2:
			return strconv.Itoa(n) + "nd"
		case 3:
			return strconv.Itoa(n) + "rd"
		}
	}
	return strconv.Itoa(n) + "th"
}

func parseCacheLink(at string, to bool, s string, lookup func(string) (string, bool)) ([]engine.CacheLink, error) {
	const hint = "write NAME[:TAG], or type=TYPE,KEY=VALUE,..."
	if strings.TrimSpace(s) == "" {
		return nil, &usage{msg: at + " is empty", hint: hint}
	}
	fields, err := csvvalue.Fields(s, nil)
	if err != nil {
		return nil, &usage{msg: at + ": a quote does not end", hint: hint}
	}
	if !strings.Contains(s, "=") {
		return cacheNames(at, fields)
	}
	l := engine.CacheLink{Attrs: map[string]string{}}
	for i, f := range fields {
		key, value, ok := strings.Cut(f, "=")
		key = strings.ToLower(strings.TrimSpace(key))
		_, again := l.Attrs[key]
		switch {
		case !ok || key == "":
			return nil, &usage{msg: fmt.Sprintf("%s: field %d is not KEY=VALUE", at, i+1), hint: hint + `; a value with a comma: "KEY=VALUE"`}
		case again || key == "type" && l.Type != "":
			return nil, &usage{msg: fmt.Sprintf("%s: field %d: %s is there twice", at, i+1, key)}
		case key == "type":
			l.Type = value
		default:
			l.Attrs[key] = value
		}
	}
	return completeCacheLink(at, to, l, fields, lookup)
}

// cacheNames are caches in registries, by their names alone.
func cacheNames(at string, names []string) ([]engine.CacheLink, error) {
	var out []engine.CacheLink
	for _, name := range names {
		l := engine.CacheLink{Type: "registry", Attrs: map[string]string{"ref": strings.TrimSpace(name)}}
		if err := checkCacheRef(at, l); err != nil {
			return nil, err
		}
		out = append(out, l)
	}
	return out, nil
}

func checkCacheRef(at string, l engine.CacheLink) error {
	if _, err := reference.ParseNormalizedNamed(l.Attrs["ref"]); err != nil {
		return &usage{msg: fmt.Sprintf("%s: %q is not the name of a cache in a registry: %v", at, l.Attrs["ref"], err),
			hint: "write [registry/]name[:tag] in lower case, e.g. ghcr.io/me/train:cache; of a folder: type=local,src=FOLDER or type=local,dest=FOLDER"}
	}
	return nil
}

// completeCacheLink checks a cache against its type, and adds what the environment says.
func completeCacheLink(at string, to bool, l engine.CacheLink, fields []string, lookup func(string) (string, bool)) ([]engine.CacheLink, error) {
	types := cacheTypes()
	i := slices.IndexFunc(types, func(t cacheType) bool { return t.name == l.Type })
	if i < 0 {
		return nil, noCacheType(at, l.Type)
	}
	t := types[i]
	keys, need := slices.Concat(t.both, t.from), t.needFrom
	if to {
		keys, need = slices.Concat(t.both, t.to), t.needTo
	} else if t.noFrom != "" {
		return nil, &usage{msg: fmt.Sprintf("%s: a cache of type %s is read from its image", at, t.name), hint: t.noFrom}
	}
	for i, f := range fields {
		key, _, _ := strings.Cut(f, "=")
		key = strings.ToLower(strings.TrimSpace(key))
		if key != "type" && !slices.Contains(keys, key) {
			return nil, noCacheKey(fmt.Sprintf("%s: field %d", at, i+1), t, key, to, keys)
		}
	}
	for _, key := range need {
		if l.Attrs[key] == "" {
			what := "FOLDER"
			if key == "ref" {
				what = "NAME[:TAG]"
			}
			return nil, &usage{msg: fmt.Sprintf("%s: %s is missing", at, key), hint: "write type=" + t.name + "," + key + "=" + what}
		}
	}
	if err := checkCacheValues(at, l); err != nil {
		return nil, err
	}
	var err error
	switch l.Type {
	case "registry":
		err = checkCacheRef(at, l)
	case "local":
		err = absolute(l.Attrs)
	case "gha":
		err = fromActions(at, l.Attrs, lookup)
	case "s3":
		err = fromAWS(at, l.Attrs, lookup)
	}
	return []engine.CacheLink{l}, err
}

func noCacheType(at, name string) error {
	var names []string
	for _, t := range cacheTypes() {
		names = append(names, t.name)
	}
	if name == "" {
		return &usage{msg: at + ": type is missing", hint: "write type=TYPE: " + strings.Join(names, ", ")}
	}
	hint := "there are " + strings.Join(names, ", ")
	if match, ok := suggest.Search(name, names, false); ok {
		hint = "did you mean type=" + match + "?"
	}
	return &usage{msg: fmt.Sprintf("%s: there is no cache of type %q", at, name), hint: hint}
}

func noCacheKey(at string, t cacheType, key string, to bool, keys []string) error {
	hint := "it takes " + strings.Join(keys, ", ")
	other, flag := slices.Concat(t.both, t.to), "--cache-to"
	if to {
		other, flag = slices.Concat(t.both, t.from), "--cache-from"
	}
	if slices.Contains(other, key) {
		hint = key + " is for " + flag
	} else if match, ok := suggest.Search(key, keys, false); ok {
		hint = "did you mean " + match + "?"
	}
	return &usage{msg: fmt.Sprintf("%s: a cache of type %s has no %q", at, t.name, key), hint: hint}
}

// checkCacheValues checks what BuildKit would take silently for something else.
func checkCacheValues(at string, l engine.CacheLink) error {
	for _, key := range []string{"ignore-error", "oci-mediatypes", "image-manifest", "force-compression", "registry.insecure", "reset", "use_path_style", "disable_accept_encoding"} {
		if v, set := l.Attrs[key]; set {
			if _, err := strconv.ParseBool(v); err != nil {
				return &usage{msg: fmt.Sprintf("%s: %s cannot be %q", at, key, v), hint: "write true or false"}
			}
		}
	}
	mode, set := l.Attrs["mode"]
	switch {
	case set && mode != "min" && mode != "max":
		return &usage{msg: fmt.Sprintf("%s: mode cannot be %q", at, mode), hint: "write min (the steps of the image) or max (those of all stages, too)"}
	case mode == "max" && l.Type == "inline":
		return &usage{msg: at + ": an image has room for its own steps only, mode=min", hint: "take type=registry,ref=NAME,mode=max"}
	}
	return nil
}

// absolute makes folders absolute: the engine may be another process.
func absolute(attrs map[string]string) (err error) {
	for _, key := range []string{"src", "dest"} {
		if attrs[key] != "" {
			if attrs[key], err = filepath.Abs(attrs[key]); err != nil {
				return err
			}
		}
	}
	return nil
}
