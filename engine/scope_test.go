package engine

import (
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
)

// scope makes blobs belong to repositories, as in real registries, with mounts between them, and writes down
// which blobs were sent or fetched as bytes.
type scope struct {
	http.Handler
	mu    sync.Mutex
	has   map[string]bool // "repository digest"
	moved []string        // digests, since the last call of on
}

func (f *fixture) scoped() *scope {
	s := &scope{Handler: f.Config.Handler, has: map[string]bool{}}
	f.Config.Handler = s
	return s
}

func (s *scope) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	repo, rest, isBlob := strings.Cut(strings.TrimPrefix(r.URL.Path, "/v2/"), "/blobs/")
	if !isBlob {
		s.Handler.ServeHTTP(w, r)
		return
	}
	s.mu.Lock()
	q := r.URL.Query()
	mounted := r.Method == http.MethodPost && s.has[q.Get("from")+" "+q.Get("mount")]
	unknown := (r.Method == http.MethodHead || r.Method == http.MethodGet) && !s.has[repo+" "+rest]
	switch {
	case mounted:
		s.has[repo+" "+q.Get("mount")] = true
	case r.Method == http.MethodPut && q.Get("digest") != "":
		s.has[repo+" "+q.Get("digest")] = true
		s.moved = append(s.moved, q.Get("digest"))
	case r.Method == http.MethodGet && !unknown:
		s.moved = append(s.moved, rest)
	}
	s.mu.Unlock()
	switch {
	case mounted:
		w.Header().Set("Location", "/v2/"+repo+"/blobs/"+q.Get("mount"))
		w.WriteHeader(http.StatusCreated)
	case unknown:
		w.WriteHeader(http.StatusNotFound)
	default:
		s.Handler.ServeHTTP(w, r)
	}
}

// forget begins to write down anew.
func (s *scope) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.moved = nil
}

// check fails when a layer of the environment was sent or fetched.
func (s *scope) check(t *testing.T, e *environment) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, img := range e.images {
		layers, err := img.Layers("")
		check(t, err)
		if len(layers) == 0 {
			t.Error("the environment has no layers")
		}
		for _, l := range layers {
			if slices.Contains(s.moved, l.Digest.String()) {
				t.Errorf("the layer %s of the base was moved", l.Digest)
			}
		}
	}
}

func (f *fixture) repo(name string) reference.Named {
	f.t.Helper()
	named, err := reference.ParseNormalizedNamed(f.host + "/" + name)
	check(f.t, err)
	return named
}

// reads lists the requests for one repository, without those that push.
func (f *fixture) reads(repo string) []string {
	var out []string
	for _, r := range f.requests() {
		if strings.Contains(r, "/v2/"+repo+"/") && (strings.HasPrefix(r, "GET ") || strings.HasPrefix(r, "HEAD ") && strings.Contains(r, "/manifests/")) {
			out = append(out, r)
		}
	}
	return out
}

// noEnvTags has the registry refuse to write tags of environments.
func (f *fixture) noEnvTags() {
	inner := f.Config.Handler
	f.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/manifests/ibuild-env-") {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		inner.ServeHTTP(w, r)
	})
}

// built is the state in which a builder leaves the environment: its image is in the repository, without a tag,
// and the facts are learned.
func (f *fixture) built(req Request, tree ...string) *environment {
	f.t.Helper()
	e := f.environment(req)
	repo := req.Outputs.environmentRepos()[0]
	f.server.push(f.t, repo+":built", environmentImage(f.t, e))
	f.made(e, []string{repo}, digest.Digest(f.digest(f.t, repo+":built")))
	for _, i := range e.rec.Images {
		known := listing(tree...)
		e.facts[i.ID] = &known
	}
	return e
}

// listen returns what people are told while do runs.
func (f *fixture) listen(do func()) string {
	f.t.Helper()
	p := NewProgress()
	f.engine.Progress = p
	var said strings.Builder
	done := make(chan struct{})
	go func() {
		defer close(done)
		for s := range p.Statuses() {
			for _, v := range s.Vertexes {
				said.WriteString(v.Name + "\n")
			}
		}
	}()
	do()
	p.Close()
	<-done
	return said.String()
}

// remind is keepEnvironment; it returns what that says.
func (f *fixture) remind(req Request, e *environment) string {
	f.t.Helper()
	return f.listen(func() { check(f.t, f.start(req).keepEnvironment(f.t.Context(), e)) })
}
