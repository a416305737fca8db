package engine

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/containerd/containerd/v2/core/content"
	contentlocal "github.com/containerd/containerd/v2/plugins/content/local"
	"github.com/distribution/reference"
	"github.com/ibuild/ibuild/cache"
	"github.com/moby/buildkit/client"
	"github.com/moby/buildkit/client/ociindex"
	gateway "github.com/moby/buildkit/frontend/gateway/client"
	"github.com/opencontainers/go-digest"
)

// CacheLink is one remote cache: where steps that a builder has not run may be found, or where those that it ran are
// put. It may hold credentials; its String has none.
type CacheLink struct {
	// Type is one of BuildKit's: registry, inline, local, gha, s3 or azblob. A builder may know fewer of them.
	Type string
	// Attrs are the attributes that BuildKit has for the type; folders are absolute.
	Attrs map[string]string
}

// secretAttrs are attributes that nobody but the cache itself gets to see.
func secretAttrs() []string {
	return []string{"access_key_id", "secret_access_key", "session_token", "token", "ghtoken"}
}

// String names the cache for people: its type, and where it is.
func (l CacheLink) String() string {
	a := l.Attrs
	parts := []string{l.Type}
	switch l.Type {
	case "registry":
		parts = append(parts, a["ref"])
	case "local":
		parts = append(parts, cmp.Or(a["dest"], a["src"]), a["tag"])
	case "gha":
		parts = append(parts, a["scope"])
	case "s3":
		parts = append(parts, strings.TrimSuffix(a["bucket"]+"/"+a["prefix"], "/"), a["name"])
	case "azblob":
		parts = append(parts, strings.TrimSuffix(a["container"]+"/"+a["prefix"], "/"), a["name"])
	}
	return strings.Join(slices.DeleteFunc(parts, func(s string) bool { return s == "" }), " ")
}

// hide takes the credentials of the cache out of a text, and the queries of addresses: signed ones open what they lead to.
func (l CacheLink) hide(text string) string {
	for _, key := range secretAttrs() {
		if value := l.Attrs[key]; value != "" {
			text = strings.ReplaceAll(text, value, "***")
		}
	}
	return text
}

// withoutQueries cuts the queries off the addresses in a text: signed addresses open what they lead to.
func withoutQueries(text string) string {
	var out strings.Builder
	for {
		at := strings.Index(text, "://")
		if at < 0 {
			return out.String() + text
		}
		end := at + len("://")
		if i := strings.IndexAny(text[end:], " \t\n\"'"); i >= 0 {
			end += i
		} else {
			end = len(text)
		}
		address, _, query := strings.Cut(text[:end], "?")
		out.WriteString(address)
		if query {
			out.WriteString("?…")
		}
		text = text[end:]
	}
}

// CacheError says that a builder cannot use a remote cache that was asked for, or that one was not written that has to
// be.
type CacheError struct{ Msg, Hint string }

func (e *CacheError) Error() string { return e.Msg }

// links are the remote caches of the solve that makes the image, or its environment.
func (b *build) links() *linkUse {
	u := &linkUse{build: b, from: slices.Clone(b.req.CacheFrom), strict: b.req.CacheStrict}
	u.to = slices.Clone(b.req.CacheTo)
	inline := slices.ContainsFunc(u.to, func(l CacheLink) bool { return l.Type == "inline" })
	if len(b.req.Plan.CacheFrom) > 0 && b.req.Outputs.Push && !inline {
		u.to = append(u.to, CacheLink{Type: "inline"}) // what such a source reads, the build before has to bring
	}
	for _, ref := range b.req.Plan.CacheFrom { // Recording.Replay asks for them
		u.named = append(u.named, CacheLink{Type: "registry", Attrs: map[string]string{"ref": ref}})
		if own := ownCache(ref); own != nil {
			u.from = append(u.from, CacheLink{Type: "registry", Attrs: map[string]string{"ref": own.String()}})
		}
	}
	for _, l := range slices.Concat(u.from, u.named) {
		if l.Type == "registry" {
			b.resolver.know(l.Attrs["ref"])
		}
	}
	return u
}

// ownCache is the name under which the image of the last build is found by a source that is to read the cache in it,
// and that names the image without a tag; each build's image has another one then. It is nil for a name with a tag.
func ownCache(ref string) reference.NamedTagged {
	named, err := reference.ParseNormalizedNamed(ref)
	if err != nil || !reference.IsNameOnly(named) {
		return nil
	}
	own, err := reference.WithTag(named, "ibuild-cache")
	if err != nil {
		return nil
	}
	return own
}

// nameOwnCache points those names to the image that was made. That it cannot is no reason to fail.
func (b *build) nameOwnCache(ctx context.Context, res *Result) {
	if !b.linked || !b.req.Outputs.Push || res.Descriptor.Digest == "" {
		return
	}
	for _, ref := range b.req.Plan.CacheFrom {
		own := ownCache(ref)
		if own == nil || !slices.Contains(b.req.Outputs.repositories(), own.Name()) {
			continue
		}
		if err := b.tag(ctx, own, res.Descriptor); err != nil && ctx.Err() == nil {
			b.warnings = append(b.warnings, fmt.Sprintf("the next build elsewhere does not find the steps of this one: %v", err))
		}
	}
}

// offer puts the caches into what is sent to the builder. Those to read that have credentials are not in it: BuildKit
// writes the options of a build into its history. They are told with each definition instead, see ask.
func (u *linkUse) offer(ctx context.Context, opt *client.SolveOpt) {
	if u == nil {
		return
	}
	for _, l := range u.to {
		attrs := maps.Clone(l.Attrs)
		if attrs == nil {
			attrs = map[string]string{}
		}
		if _, set := attrs["ignore-error"]; !set && l.Type != "inline" {
			attrs["ignore-error"] = fmt.Sprint(!u.strict)
		}
		opt.CacheExports = append(opt.CacheExports, client.CacheOptionsEntry{Type: l.Type, Attrs: attrs})
	}
	for _, l := range u.from {
		attrs := maps.Clone(l.Attrs)
		if l.Type == "local" && !u.findLocal(ctx, l, attrs) {
			continue
		}
		u.asked = append(u.asked, gateway.CacheOptionsEntry{Type: l.Type, Attrs: attrs})
		if l.Type == "local" || l.Type == "registry" {
			opt.CacheImports = append(opt.CacheImports, client.CacheOptionsEntry{Type: l.Type, Attrs: maps.Clone(attrs)})
		}
	}
}

// findLocal looks a folder's cache up, and sets its digest. BuildKit's client would leave out silently what is not there.
func (u *linkUse) findLocal(ctx context.Context, l CacheLink, attrs map[string]string) bool {
	d := digest.Digest(attrs["digest"])
	if d == "" {
		desc, err := ociindex.NewStoreIndex(attrs["src"]).Get(cmp.Or(attrs["tag"], "latest"))
		switch {
		case err != nil && !isAbsent(err.Error()):
			u.warn(unread(l, err.Error()))
			return false
		case err != nil || desc == nil:
			u.build.Progress.Known(nothingYet(l))
			return false
		}
		d = desc.Digest
	}
	store, err := contentlocal.NewStore(attrs["src"])
	if err == nil {
		_, err = content.Store.Info(store, ctx, d)
	}
	if err != nil {
		u.warn(unread(l, err.Error()))
		return false
	}
	attrs["digest"] = d.String()
	return true
}

// ask tells the builder with each definition where its results may be.
func (u *linkUse) ask(build gateway.BuildFunc) gateway.BuildFunc {
	if u == nil || len(u.asked) == 0 {
		return build
	}
	return func(ctx context.Context, c gateway.Client) (*gateway.Result, error) {
		return build(ctx, &linkedClient{Client: c, links: u.asked})
	}
}

type linkedClient struct {
	gateway.Client
	links []gateway.CacheOptionsEntry
}

// Solve implements gateway.Client. A frontend that is an image itself asks for caches by itself; it is told of those
// without credentials only.
func (c *linkedClient) Solve(ctx context.Context, req gateway.SolveRequest) (*gateway.Result, error) {
	if req.Definition != nil {
		req.CacheImports = append(slices.Clone(c.links), req.CacheImports...)
	}
	return c.Client.Solve(ctx, req)
}

// tellUnwritten names the caches that a build did not write, as it had nothing to solve. It solves for no cache's sake:
// whatever is known would be made again on each machine that has not made it, and the build that changes something
// writes the cache anyway. What this machine wrote there for the same source needs no word.
func (b *build) tellUnwritten(res *Result) {
	for _, l := range b.req.CacheTo {
		key := b.writtenKey(l)
		switch {
		case b.linked:
			if b.wrote && key != "" && res.Descriptor.Digest != "" {
				_ = cache.Results(b.Cache).Put(key, cache.Result{Descriptor: res.Descriptor, Created: time.Now()})
			}
		case l.Type == "inline" && res.How == HowKnown: // it is in the image, or the image would be another one
		default:
			if _, ok := cache.Results(b.Cache).Get(key); key == "" || !ok {
				b.Progress.Known("nothing is solved, so the cache " + l.String() + " is not written; --force solves")
			}
		}
	}
}

// writtenKey is what is remembered of a cache that the build was written to; "" for a build without an identity.
func (b *build) writtenKey(l CacheLink) string {
	if b.graph == nil {
		return ""
	}
	return "cache-to " + digest.FromString(l.String()).Encoded() + " " + b.graph.Identity().String()
}
