package engine

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/moby/buildkit/client"
	gateway "github.com/moby/buildkit/frontend/gateway/client"
	"github.com/opencontainers/go-digest"
)

// linkUse is what one solve does with remote caches. BuildKit reports a cache that it cannot read, and one that it may
// fail to write, as a step that failed, in a build that goes on; here these become warnings. nil is a solve without
// any.
type linkUse struct {
	build    *build
	from, to []CacheLink
	named    []CacheLink // by the source
	strict   bool
	asked    []gateway.CacheOptionsEntry // from, as the builder gets them

	watching sync.WaitGroup
	mu       sync.Mutex
	told     map[digest.Digest]string // by step: what became of it
	warnings []string
	missed   bool        // a cache was not written
	failed   *CacheError // a cache that had to be written
}

// importing begins the name of BuildKit's step that reads a cache; a registry's ref follows, or the type and a number.
const importing = "importing cache manifest from "

// exporting has the names of BuildKit's steps that write caches, by type.
func exporting() map[string]string {
	return map[string]string{
		"exporting cache to registry":           "registry",
		"exporting cache to client directory":   "local",
		"exporting to GitHub Actions Cache":     "gha",
		"exporting cache to Amazon S3":          "s3",
		"exporting cache to Azure Blob Storage": "azblob",
	}
}

// watch returns a channel for a solve; what is sent there goes on to next, in words about caches that people know.
func (u *linkUse) watch(next chan *client.SolveStatus) chan *client.SolveStatus {
	if u == nil || len(u.from)+len(u.to)+len(u.named) == 0 {
		return next
	}
	in := make(chan *client.SolveStatus)
	u.watching.Go(func() {
		defer close(next)
		for s := range in {
			for _, v := range s.Vertexes {
				if log := u.see(v); log != "" {
					s.Logs = append(s.Logs, &client.VertexLog{Vertex: v.Digest, Stream: 2, Data: []byte(log + "\n"), Timestamp: time.Now()})
				}
			}
			next <- s
		}
	})
	return in
}

// see rewrites a step about a cache. It returns what is to be told of it, once.
func (u *linkUse) see(v *client.Vertex) string {
	var link CacheLink
	from, reads := strings.CutPrefix(v.Name, importing)
	kind, writes := exporting()[v.Name]
	switch {
	case reads:
		link = u.source(from)
		v.Name = "look into the cache " + link.String()
	case writes:
		link = u.target(kind, v.Error)
		v.Name = "write the cache " + link.String()
	default:
		return ""
	}
	if v.Error == "" || strings.HasSuffix(v.Error, context.Canceled.Error()) {
		return ""
	}
	v.Error = u.hide(v.Error)
	u.mu.Lock()
	defer u.mu.Unlock()
	text, again := u.told[v.Digest]
	if !again {
		text = u.judge(link, v.Error, writes)
		if u.told == nil {
			u.told = map[digest.Digest]string{}
		}
		u.told[v.Digest] = text
	}
	if text == "" { // it stops the build
		return ""
	}
	v.Error = ""
	if again {
		return ""
	}
	return text
}

// judge decides what a failure means, and returns what is to be told; "" for a failure of the build.
func (u *linkUse) judge(l CacheLink, why string, writes bool) string {
	switch {
	case writes && !u.mayFail(l):
		u.failed = &CacheError{Msg: "the cache " + l.String() + " was not written: " + why, Hint: "without --cache-strict and ignore-error=false this is a warning"}
		return ""
	case writes:
		text := "the cache " + l.String() + " was not written, and the image does not need it: " + why + writeHint(l)
		u.warnings, u.missed = append(u.warnings, text), true
		return "warning: " + text
	case isAbsent(why):
		return nothingYet(l)
	}
	u.warnings = append(u.warnings, unread(l, why))
	return "warning: " + unread(l, why)
}

// mayFail says that the image is worth having without the cache.
func (u *linkUse) mayFail(l CacheLink) bool {
	switch l.Attrs["ignore-error"] {
	case "":
		return !u.strict
	case "false", "0", "f", "F", "FALSE", "False":
		return false
	}
	return true
}

func nothingYet(l CacheLink) string { return "the cache " + l.String() + " has nothing yet" }

func unread(l CacheLink, why string) string {
	return "the cache " + l.String() + " was not read, so steps run that it may have: " + why
}

// writeHint is what to do about a cache that was not written.
func writeHint(l CacheLink) string {
	switch l.Type {
	case "registry":
		return " (who writes it needs the right to push there: docker login)"
	case "gha":
		return " (the token of a job is good for that job only)"
	case "s3", "azblob":
		return " (the credentials need the right to write there)"
	}
	return ""
}

// isAbsent tells from BuildKit's text that a cache is not there, which is how each of them begins.
func isAbsent(why string) bool {
	for _, s := range []string{"not found", "no such file", "manifest unknown", "name unknown"} {
		if strings.Contains(strings.ToLower(why), s) {
			return true
		}
	}
	return false
}

// source is the cache that BuildKit means by name. Several of a type that is not registry have names that only it knows.
func (u *linkUse) source(name string) CacheLink {
	kind, _, _ := strings.Cut(name, ":")
	var same []CacheLink
	for _, l := range slices.Concat(u.from, u.named) {
		if l.Type == "registry" && l.Attrs["ref"] == name {
			return l
		}
		if l.Type == kind {
			same = append(same, l)
		}
	}
	if len(same) == 0 {
		return CacheLink{Type: "registry", Attrs: map[string]string{"ref": name}}
	}
	return oneOf(same)
}

// target is the cache of this type that the failure is about: the one that it names, where there are several.
func (u *linkUse) target(kind, why string) CacheLink {
	var same []CacheLink
	for _, l := range u.to {
		if l.Type != kind {
			continue
		}
		if where := strings.TrimPrefix(l.String(), kind+" "); why != "" && strings.Contains(why, where) {
			return l
		}
		same = append(same, l)
	}
	return oneOf(same)
}

// oneOf stands for one of several caches of a type.
func oneOf(list []CacheLink) CacheLink {
	if len(list) == 1 {
		return list[0]
	}
	return CacheLink{Type: "of type " + list[0].Type}
}

// hide takes credentials out of a text.
func (u *linkUse) hide(text string) string {
	for _, l := range slices.Concat(u.from, u.to) {
		text = l.hide(text)
	}
	return withoutQueries(text)
}

func (u *linkUse) warn(text string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.warnings = append(u.warnings, text)
}

// end waits for the last words about caches, and returns what a failed solve failed of, if it was a cache. A solve that
// ended well leaves its warnings with the build.
func (u *linkUse) end(ctx context.Context, err error) error {
	if u == nil {
		return nil
	}
	u.watching.Wait()
	u.mu.Lock()
	defer u.mu.Unlock()
	switch {
	case err == nil:
		u.build.linked, u.build.wrote = true, !u.missed
		u.build.warnings = append(u.build.warnings, u.warnings...)
		return nil
	case ctx.Err() != nil:
		return nil
	case u.failed != nil:
		return u.failed
	}
	return u.refused(err)
}

// refused explains what a builder, or BuildKit's client, says of caches before it begins.
func (u *linkUse) refused(err error) error {
	var file *fs.PathError
	if errors.As(err, &file) && slices.ContainsFunc(u.to, func(l CacheLink) bool { return l.Type == "local" && strings.HasPrefix(file.Path, l.Attrs["dest"]) }) {
		return &CacheError{Msg: "the cache local " + file.Path + " cannot be written: " + file.Err.Error(), Hint: "type=local,dest=FOLDER makes a folder on this machine"}
	}
	_, kind, unknown := strings.Cut(err.Error(), "unknown cache exporter: ")
	switch {
	case unknown:
		return &CacheError{Msg: "the builder " + u.build.builder.Name() + " does not write caches of the type " + strings.Trim(kind, `"`),
			Hint: "type=registry is known to all; a builder of BuildKit's own knows inline, local, gha, s3 and azblob, too"}
	case strings.Contains(err.Error(), "cache exporter"), strings.Contains(err.Error(), "duplicate cache exports"):
		return &CacheError{Msg: u.hide(strings.TrimPrefix(err.Error(), "failed to solve: ")), Hint: "see docs/remote-cache.md for what each type needs"}
	}
	return nil
}
