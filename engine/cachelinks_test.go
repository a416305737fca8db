package engine

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/containerd/containerd/v2/core/content"
	contentlocal "github.com/containerd/containerd/v2/plugins/content/local"
	"github.com/ibuild/ibuild/llb"
	"github.com/moby/buildkit/client"
	"github.com/moby/buildkit/client/ociindex"
	gateway "github.com/moby/buildkit/frontend/gateway/client"
	"github.com/moby/buildkit/solver/pb"
	"github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

// withCaches is a build that was asked to use caches; said is what its progress had to say by the end.
func withCaches(t *testing.T, req Request) (b *build, said func() string) {
	t.Helper()
	p := NewProgress()
	var text strings.Builder
	done := make(chan struct{})
	go func() {
		defer close(done)
		for s := range p.Statuses() {
			for _, v := range s.Vertexes {
				text.WriteString(v.Name + " [" + v.Error + "]\n")
			}
			for _, l := range s.Logs {
				text.Write(l.Data)
			}
		}
	}()
	if req.Plan == nil {
		req.Plan = &llb.Plan{}
	}
	return &build{Engine: &Engine{Progress: p}, req: req, resolver: &resolver{}}, func() string {
		p.Close()
		<-done
		return text.String()
	}
}

// folderCache is a folder with a cache in it.
func folderCache(t *testing.T) (string, digest.Digest) {
	t.Helper()
	dir := t.TempDir()
	store, err := contentlocal.NewStore(dir)
	if err != nil {
		t.Fatal(err)
	}
	data := []byte(`{"schemaVersion":2}`)
	desc := ocispecs.Descriptor{MediaType: ocispecs.MediaTypeImageManifest, Digest: digest.FromBytes(data), Size: int64(len(data))}
	if err := content.WriteBlob(t.Context(), store, "x", strings.NewReader(string(data)), desc); err != nil {
		t.Fatal(err)
	}
	if err := ociindex.NewStoreIndex(dir).Put(desc, ociindex.Tag("latest")); err != nil {
		t.Fatal(err)
	}
	return dir, desc.Digest
}

// askedSolves records what a builder is asked.
type askedSolves struct {
	gateway.Client
	imports []gateway.CacheOptionsEntry
}

func (a *askedSolves) Solve(_ context.Context, req gateway.SolveRequest) (*gateway.Result, error) {
	a.imports = req.CacheImports
	return gateway.NewResult(), nil
}

// TestCachesThatAreSent: what the client sends. Credentials go with the definition only, which no history keeps.
func TestCachesThatAreSent(t *testing.T) {
	dir, d := folderCache(t)
	b, said := withCaches(t, Request{
		CacheTo: []CacheLink{{Type: "registry", Attrs: map[string]string{"ref": "a/b", "mode": "max"}}, {Type: "inline"}, {Type: "local", Attrs: map[string]string{"dest": "/out", "ignore-error": "false"}},
			{Type: "s3", Attrs: map[string]string{"bucket": "x", "secret_access_key": "K"}}},
		CacheFrom: []CacheLink{{Type: "registry", Attrs: map[string]string{"ref": "a/b"}}, {Type: "local", Attrs: map[string]string{"src": dir}},
			{Type: "local", Attrs: map[string]string{"src": dir + "/none"}}, {Type: "s3", Attrs: map[string]string{"bucket": "x", "secret_access_key": "K"}}},
	})
	u := b.links()
	var opt client.SolveOpt
	u.offer(t.Context(), &opt)
	wantTo := []client.CacheOptionsEntry{
		{Type: "registry", Attrs: map[string]string{"ref": "a/b", "mode": "max", "ignore-error": "true"}},
		{Type: "inline", Attrs: map[string]string{}},
		{Type: "local", Attrs: map[string]string{"dest": "/out", "ignore-error": "false"}},
		{Type: "s3", Attrs: map[string]string{"bucket": "x", "secret_access_key": "K", "ignore-error": "true"}},
	}
	if !reflect.DeepEqual(opt.CacheExports, wantTo) {
		t.Errorf("exports %v\nwant    %v", opt.CacheExports, wantTo)
	}
	local := map[string]string{"src": dir, "digest": d.String()}
	wantFrom := []client.CacheOptionsEntry{{Type: "registry", Attrs: map[string]string{"ref": "a/b"}}, {Type: "local", Attrs: local}}
	if !reflect.DeepEqual(opt.CacheImports, wantFrom) {
		t.Errorf("imports %v\nwant    %v", opt.CacheImports, wantFrom)
	}
	builder := &askedSolves{}
	_, err := u.ask(func(ctx context.Context, c gateway.Client) (*gateway.Result, error) {
		return c.Solve(ctx, gateway.SolveRequest{Definition: &pb.Definition{}, CacheImports: []gateway.CacheOptionsEntry{{Type: "registry", Attrs: map[string]string{"ref": "own"}}}})
	})(t.Context(), builder)
	wantAsked := []gateway.CacheOptionsEntry{{Type: "registry", Attrs: map[string]string{"ref": "a/b"}}, {Type: "local", Attrs: local},
		{Type: "s3", Attrs: map[string]string{"bucket": "x", "secret_access_key": "K"}}, {Type: "registry", Attrs: map[string]string{"ref": "own"}}}
	if err != nil || !reflect.DeepEqual(builder.imports, wantAsked) {
		t.Errorf("asked %v, %v\nwant  %v", builder.imports, err, wantAsked)
	}
	if text := said(); text != "the cache local "+dir+"/none has nothing yet []\n" {
		t.Errorf("said %q", text)
	}
}

// TestStrictCaches: what is not said of one cache is said by --cache-strict.
func TestStrictCaches(t *testing.T) {
	b, said := withCaches(t, Request{CacheStrict: true, CacheTo: []CacheLink{{Type: "registry", Attrs: map[string]string{"ref": "a"}}, {Type: "gha", Attrs: map[string]string{"ignore-error": "true"}}}})
	defer said()
	var opt client.SolveOpt
	b.links().offer(t.Context(), &opt)
	if opt.CacheExports[0].Attrs["ignore-error"] != "false" || opt.CacheExports[1].Attrs["ignore-error"] != "true" {
		t.Errorf("%v", opt.CacheExports)
	}
}

// TestInlineCacheOfSources: a source that reads an image's cache gets one into the image that it pushes.
func TestInlineCacheOfSources(t *testing.T) {
	for _, c := range []struct {
		push bool
		to   []CacheLink
		want []string
	}{
		{true, nil, []string{"inline"}},
		{false, nil, nil},
		{true, []CacheLink{{Type: "inline"}}, []string{"inline"}},
		{true, []CacheLink{{Type: "gha"}}, []string{"gha", "inline"}},
	} {
		b, said := withCaches(t, Request{Plan: &llb.Plan{CacheFrom: []string{"a/b"}}, CacheTo: c.to, Outputs: Outputs{Push: c.push}})
		var got []string
		for _, l := range b.links().to {
			got = append(got, l.Type)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%+v: exports to %v", c, got)
		}
		said()
	}
}

// TestWordsAboutCaches: BuildKit's steps about caches, as people get to see them.
func TestWordsAboutCaches(t *testing.T) {
	req := Request{
		CacheFrom: []CacheLink{{Type: "registry", Attrs: map[string]string{"ref": "me/a"}}, {Type: "s3", Attrs: map[string]string{"bucket": "b", "prefix": "p/", "secret_access_key": "KEY"}}},
		CacheTo:   []CacheLink{{Type: "registry", Attrs: map[string]string{"ref": "me/a"}}, {Type: "registry", Attrs: map[string]string{"ref": "me/strict", "ignore-error": "false"}}},
		Plan:      &llb.Plan{CacheFrom: []string{"me/source"}},
	}
	for what, c := range map[string]struct{ step, err, name, log, warning, failed string }{
		"read":             {importing + "me/a", "", "look into the cache registry me/a", "", "", ""},
		"not there":        {importing + "me/a", "failed: me/a: not found", "look into the cache registry me/a", "the cache registry me/a has nothing yet\n", "", ""},
		"of the source":    {importing + "me/source", "x: not found", "look into the cache registry me/source", "the cache registry me/source has nothing yet\n", "", ""},
		"by a number":      {importing + "s3:123", "denied KEY at https://h/p?sig=1 now", "look into the cache s3 b/p", "", "the cache s3 b/p was not read, so steps run that it may have: denied *** at https://h/p?… now", ""},
		"not written":      {"exporting cache to registry", "push me/a: refused", "write the cache registry me/a", "", "the cache registry me/a was not written, and the image does not need it: push me/a: refused", ""},
		"has to be":        {"exporting cache to registry", "push me/strict: refused", "write the cache registry me/strict", "", "", "the cache registry me/strict was not written: push me/strict: refused"},
		"another step":     {"[2/2] RUN x", "exit code 1", "[2/2] RUN x", "", "", ""},
		"a cancelled one":  {importing + "me/a", "context canceled", "look into the cache registry me/a", "", "", ""},
		"which is unknown": {"exporting cache to registry", "", "write the cache of type registry", "", "", ""},
	} {
		b, said := withCaches(t, req)
		u := b.links()
		in := u.watch(b.Progress.Solve())
		for range 2 { // steps are told more than once
			in <- &client.SolveStatus{Vertexes: []*client.Vertex{{Digest: digest.FromString("x"), Name: c.step, Error: c.err}}}
		}
		close(in)
		err := u.end(t.Context(), nil)
		if c.failed != "" {
			err = u.end(t.Context(), errors.New("failed to solve: x"))
		}
		text := said()
		kept := c.err
		if c.log != "" || c.warning != "" {
			kept = ""
		}
		log := c.log
		if c.warning != "" {
			log = "warning: " + c.warning
		}
		if !strings.HasPrefix(text, c.name+" ["+kept+"]\n"+log) || strings.Contains(text, "KEY") {
			t.Errorf("%s: shown\n%s", what, text)
		}
		if log != "" && strings.Count(text, strings.TrimSpace(log)) != 1 {
			t.Errorf("%s: told more than once:\n%s", what, text)
		}
		switch {
		case c.warning == "" && len(b.warnings) > 0, c.warning != "" && (len(b.warnings) != 1 || !strings.HasPrefix(b.warnings[0], c.warning)):
			t.Errorf("%s: warnings %q", what, b.warnings)
		case c.failed == "" && err != nil, c.failed != "" && (err == nil || err.Error() != c.failed):
			t.Errorf("%s: error %v", what, err)
		}
	}
}

// TestCachesHaveNoCredentialsInTheirNames holds all types and attributes.
func TestCachesHaveNoCredentialsInTheirNames(t *testing.T) {
	for _, kind := range []string{"registry", "inline", "local", "gha", "s3", "azblob"} {
		l := CacheLink{Type: kind, Attrs: map[string]string{}}
		for _, key := range append(secretAttrs(), "url", "endpoint_url", "account_url") {
			l.Attrs[key] = "CANARY-" + key
		}
		if strings.Contains(l.String(), "CANARY") {
			t.Errorf("%s", l)
		}
		if text := l.hide("x CANARY-token y CANARY-secret_access_key z"); strings.Contains(text, "CANARY") {
			t.Errorf("%s", text)
		}
	}
}

func FuzzWithoutQueries(f *testing.F) {
	for _, s := range []string{"", "a://", "Get \"https://h/x?sig=1\": refused", "://?://?", "x ? y://z?"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := withoutQueries(s)
		if !strings.Contains(s, "?") && got != s {
			t.Errorf("%q became %q", s, got)
		}
		if strings.Contains(withoutQueries("https://h/p?"+strings.Join(strings.FieldsFunc(s, func(r rune) bool { return strings.ContainsRune(" \t\n\"'", r) }), "")+"CANARY"), "CANARY") {
			t.Errorf("%q: a query is kept", s)
		}
	})
}
