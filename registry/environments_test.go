package registry

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/opencontainers/go-digest"
)

const envPrefix = "ibuild-env-"

// madeAt is a small image with a time in its config.
func madeAt(t *testing.T, at time.Time) v1.Image {
	t.Helper()
	img, err := mutate.CreatedAt(testImage(t, amd64), v1.Time{Time: at})
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// on puts a layer on an image.
func on(t *testing.T, base v1.Image) v1.Image {
	t.Helper()
	layer, err := random.Layer(100, "application/vnd.oci.image.layer.v1.tar+gzip")
	if err != nil {
		t.Fatal(err)
	}
	img, err := mutate.AppendLayers(base, layer)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func indexOf(images ...v1.Image) v1.ImageIndex {
	index := v1.ImageIndex(empty.Index)
	for _, img := range images {
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "amd64"}}})
	}
	return index
}

// environments is a server with environments of all sorts, and the repository.
func environments(t *testing.T) (*server, string) {
	s := newServer(t)
	repo := s.host + "/team/app"
	now := time.Now().Truncate(time.Second)
	used, same, loose, young, old := madeAt(t, now.Add(-90*time.Hour)), madeAt(t, now.Add(-80*time.Hour)), madeAt(t, now.Add(-70*time.Hour)), madeAt(t, now.Add(-time.Hour)), madeAt(t, time.Unix(0, 0))
	push(t, repo+":ibuild-env-used", indexOf(used))
	push(t, repo+":v1", indexOf(on(t, used), madeAt(t, now)))
	push(t, repo+":ibuild-env-same", same)
	push(t, repo+":v2", same)
	push(t, repo+":ibuild-env-loose", indexOf(loose))
	push(t, repo+":ibuild-env-young", indexOf(young))
	push(t, repo+":ibuild-env-epoch", indexOf(old))
	push(t, repo+":ibuild-env-on-env", indexOf(on(t, loose)))
	return s, repo
}

func TestEnvironments(t *testing.T) {
	s, repo := environments(t)
	c := newClient(t, Options{Cache: newCache(t)})
	list, err := c.Environments(ctx(t), repo, envPrefix)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]struct {
		usedBy string
		age    time.Duration
	}{
		"used": {"v1", 90 * time.Hour}, "same": {"v2", 80 * time.Hour}, "loose": {"", 70 * time.Hour}, "young": {"", time.Hour}, "epoch": {"", 0}, "on-env": {"", 70 * time.Hour},
	}
	if len(list) != len(want) {
		t.Errorf("%d environments: %+v", len(list), list)
	}
	for _, e := range list {
		w := want[strings.TrimPrefix(e.Tag, envPrefix)]
		if strings.Join(e.UsedBy, " ") != w.usedBy || e.Size == 0 {
			t.Errorf("%+v", e)
		}
		if age := time.Since(e.Time); e.Time.IsZero() != (w.age == 0) || !e.Time.IsZero() && (age < w.age-time.Minute || age > w.age+time.Minute) {
			t.Errorf("%s: %s", e.Tag, e.Time)
		}
	}

	s.be(nil)
	for _, e := range list {
		if e.Tag == "ibuild-env-loose" {
			if err := c.DeleteEnvironment(ctx(t), repo, e, list); err != nil {
				t.Fatal(err)
			}
		}
	}
	if n := s.count("DELETE "); n != 1 {
		t.Errorf("%q", s.requests())
	}
	after, err := c.Environments(ctx(t), repo, envPrefix)
	if err != nil || len(after) != len(list)-1 {
		t.Errorf("%d are left, %v", len(after), err)
	}
	if list, err := c.Environments(ctx(t), repo, "none-"); err != nil || list != nil {
		t.Errorf("%v, %v", list, err)
	}
}

// TestTagsInPages: a registry that lists tags in pages and says when images were pushed.
func TestTagsInPages(t *testing.T) {
	s, repo := environments(t)
	old := time.Now().Add(-1000 * time.Hour)
	var loose digest.Digest
	s.be(func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, "/tags/list") {
			return false
		}
		if r.URL.Query().Get("last") == "" {
			w.Header().Set("Link", `</v2/team/app/tags/list?n=2&last=x>; rel="next"`)
			fmt.Fprintf(w, `{"tags":["v1","ibuild-env-used"]}`)
			return true
		}
		fmt.Fprintf(w, `{"tags":["ibuild-env-loose","gone"],"manifest":{%q:{"timeUploadedMs":"%d","tag":["ibuild-env-loose"]}}}`, loose, old.UnixMilli())
		return true
	})
	c := newClient(t, Options{})
	at, err := c.Head(ctx(t), repo+":ibuild-env-loose")
	if err != nil {
		t.Fatal(err)
	}
	loose = at.Digest
	list, err := c.Environments(ctx(t), repo, envPrefix)
	if err != nil || len(list) != 2 {
		t.Fatalf("%+v, %v", list, err)
	}
	if list[0].Tag != "ibuild-env-loose" || list[0].Time.UnixMilli() != old.UnixMilli() || list[0].UsedBy != nil || len(list[1].UsedBy) != 1 {
		t.Errorf("%+v", list)
	}
}

func answer(status int, body string) func(http.ResponseWriter) {
	return func(w http.ResponseWriter) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		fmt.Fprint(w, body)
	}
}

func TestListingFails(t *testing.T) {
	s, repo := environments(t)
	for _, c := range []struct {
		name, msg, hint string
		answer          func(http.ResponseWriter)
		kind            error
	}{
		{"refused", "the tags may not be listed: ", "docker login", answer(403, `{"errors":[{"code":"DENIED","message":"no"}]}`), ErrDenied},
		{"not known", "answered 405", "does not list tags", answer(405, `{"errors":[{"code":"UNSUPPORTED"}]}`), ErrBadAnswer},
		{"no repository", "answered 404", "check the name", answer(404, `{"errors":[{"code":"NAME_UNKNOWN"}]}`), ErrNotFound},
		{"no JSON", "not valid JSON", "does not list tags", answer(200, `<html>`), ErrBadAnswer},
		{"no tag", `has "../x"`, "does not list tags", answer(200, `{"tags":["../x"]}`), ErrBadAnswer},
		{"large", "more than 16777216 bytes", "does not list tags", answer(200, `{"tags":["`+strings.Repeat("a", maxTagPage)+`"]}`), ErrBadAnswer},
		{"endless", "again and again", "", func(w http.ResponseWriter) {
			w.Header().Set("Link", `</v2/team/app/tags/list?n=1000>; rel="next"`)
			answer(200, `{"tags":["a"]}`)(w)
		}, ErrBadAnswer},
		{"elsewhere", "at another host", "", func(w http.ResponseWriter) {
			w.Header().Set("Link", `<http://169.254.169.254/x>; rel="next"`)
			answer(200, `{"tags":["a"]}`)(w)
		}, ErrBadAnswer},
	} {
		t.Run(c.name, func(t *testing.T) {
			s.be(func(w http.ResponseWriter, r *http.Request) bool {
				if strings.HasSuffix(r.URL.Path, "/tags/list") {
					c.answer(w)
					return true
				}
				return false
			})
			_, err := newClient(t, Options{}).Environments(ctx(t), repo, envPrefix)
			var e *Error
			if !errors.Is(err, c.kind) || !errors.As(err, &e) || !strings.Contains(e.Msg, c.msg) || !strings.Contains(e.Hint, c.hint) {
				t.Errorf("%v (%+v)", err, e)
			}
		})
	}
	t.Run("a tag that cannot be read", func(t *testing.T) {
		s.be(func(w http.ResponseWriter, r *http.Request) bool {
			if strings.HasSuffix(r.URL.Path, "/manifests/v1") {
				answer(403, `{}`)(w)
				return true
			}
			return false
		})
		if list, err := newClient(t, Options{}).Environments(ctx(t), repo, envPrefix); !errors.Is(err, ErrDenied) {
			t.Errorf("%+v, %v: what v1 is built on is not known", list, err)
		}
	})
}

func TestDeletingFails(t *testing.T) {
	byDigest := func(r *http.Request) bool { return strings.Contains(r.URL.Path, "/manifests/sha256:") }
	for _, c := range []struct {
		name, msg, hint string
		answer          func(w http.ResponseWriter, r *http.Request) bool
		requests        int
	}{
		{"off", "lets no client delete", "turn that on", func(w http.ResponseWriter, _ *http.Request) bool {
			answer(405, `{"errors":[{"code":"UNSUPPORTED"}]}`)(w)
			return true
		}, 2},
		{"immutable", "immutable", "may not be changed", func(w http.ResponseWriter, _ *http.Request) bool {
			answer(412, `{"errors":[{"code":"PRECONDITION","message":"configured as immutable"}]}`)(w)
			return true
		}, 1},
		{"refused", "it may not be deleted", "docker login", func(w http.ResponseWriter, _ *http.Request) bool {
			answer(403, `{"errors":[{"code":"DENIED"}]}`)(w)
			return true
		}, 1},
		{"by digest only", "", "", func(w http.ResponseWriter, r *http.Request) bool {
			if byDigest(r) {
				return false
			}
			answer(400, `{"errors":[{"code":"DIGEST_INVALID"}]}`)(w)
			return true
		}, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, repo := environments(t)
			client := newClient(t, Options{})
			e := find(t, client, repo, "ibuild-env-loose")
			s.be(func(w http.ResponseWriter, r *http.Request) bool {
				return r.Method == http.MethodDelete && c.answer(w, r)
			})
			err := client.DeleteEnvironment(ctx(t), repo, e, nil)
			var got *Error
			errors.As(err, &got)
			switch {
			case c.msg == "" && err != nil, c.msg != "" && (got == nil || !strings.Contains(got.Msg, c.msg) || !strings.Contains(got.Hint, c.hint)):
				t.Errorf("%v, %+v", err, got)
			case s.count("DELETE ") != c.requests:
				t.Errorf("%q", s.requests())
			}
		})
	}
}

func find(t *testing.T, c *Client, repo, tag string) Environment {
	t.Helper()
	list, err := c.Environments(ctx(t), repo, envPrefix)
	if err != nil {
		t.Fatal(err)
	}
	n := slices.IndexFunc(list, func(e Environment) bool { return e.Tag == tag })
	return list[n]
}

func TestDeletingKeepsOthers(t *testing.T) {
	s, repo := environments(t)
	client := newClient(t, Options{})
	e := find(t, client, repo, "ibuild-env-loose")
	s.be(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodDelete {
			return false
		}
		answer(405, `{}`)(w)
		return true
	})
	twin := Environment{Tag: "ibuild-env-twin", Digest: e.Digest}
	if err := client.DeleteEnvironment(ctx(t), repo, e, []Environment{e, twin}); err == nil || !strings.Contains(err.Error(), "as the tag ibuild-env-twin") || s.count("DELETE ") != 1 {
		t.Errorf("%v, %q", err, s.requests())
	}
	s.be(nil)
	push(t, repo+":ibuild-env-loose", testImage(t, amd64)) // somebody else makes it again
	if err := client.DeleteEnvironment(ctx(t), repo, e, nil); err == nil || !strings.Contains(err.Error(), "pushed again") || s.count("DELETE ") != 0 {
		t.Errorf("%v, %q", err, s.requests())
	}
	cancelled, cancel := context.WithCancel(ctx(t))
	cancel()
	if _, err := client.Environments(cancelled, repo, envPrefix); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func FuzzTags(f *testing.F) {
	f.Add([]byte(`{"tags":["a"],"manifest":{"sha256:x":{"timeUploadedMs":"12"}}}`), `</v2/x?a=b>; rel="next"`)
	f.Add([]byte(`{"tags":null}`), `<//other/x>; rel=next`)
	f.Fuzz(func(t *testing.T, data []byte, link string) {
		l := &tagList{uploaded: map[digest.Digest]time.Time{}}
		if l.add(data) == nil {
			for _, tag := range l.tags {
				if !isTag(tag) {
					t.Errorf("%q", tag)
				}
			}
		}
		at := &url.URL{Scheme: "https", Host: "example.com", Path: "/v2/a/tags/list"}
		if next, err := nextPage(at, link); err == nil && next != nil && (next.Host != at.Host || next.Scheme != at.Scheme) {
			t.Errorf("%s", next)
		}
	})
}
