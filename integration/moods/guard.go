package moods

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
)

// Auth is how a registry lets people in.
type Auth int

// The ways.
const (
	Open Auth = iota
	Basic
	Bearer
)

// String says it in words.
func (a Auth) String() string { return [...]string{"open", "basic", "bearer"}[a] }

const (
	tokenPath = "/token"
	service   = "moods"
)

// User is whom a proxy lets in. The password is another one for each proxy.
const User = "somebody"

// guard lets requests in, gives tokens, and writes down who saw credentials that are not his, or what was asked that
// nobody has to ask.
type guard struct {
	auth     Auth
	password string
	repos    []string // that tokens may be asked for

	mu     sync.Mutex
	tokens map[string][]string // scopes of those that are still good
	wrongs []string
}

func newGuard(auth Auth, repos []string) *guard {
	return &guard{auth: auth, password: rand.Text(), repos: repos, tokens: map[string][]string{}}
}

// wrong writes down what must not happen.
func (g *guard) wrong(format string, args ...any) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.wrongs = append(g.wrongs, fmt.Sprintf(format, args...))
}

// expire ends all tokens.
func (g *guard) expire() {
	g.mu.Lock()
	defer g.mu.Unlock()
	clear(g.tokens)
}

// allows says whether a request may pass.
func (g *guard) allows(r *http.Request) bool {
	switch g.auth {
	case Open:
		return true // the host's own credentials may come all the same
	case Basic:
		return g.knows(r)
	}
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		return false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	scopes, known := g.tokens[token]
	return known && (r.URL.Path == "/v2/" || permits(scopes, r))
}

// knows says whether a request has name and password.
func (g *guard) knows(r *http.Request) bool {
	name, password, ok := r.BasicAuth()
	return ok && name == User && subtle.ConstantTimeCompare([]byte(password), []byte(g.password)) == 1
}

// permits says whether one of the scopes is enough for a request.
func permits(scopes []string, r *http.Request) bool {
	action := "push"
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		action = "pull"
	}
	for _, scope := range scopes {
		if p := strings.SplitN(scope, ":", 3); len(p) == 3 && strings.HasPrefix(r.URL.Path, "/v2/"+p[1]+"/") && strings.Contains(p[2], action) {
			return true
		}
	}
	return false
}

// challenge answers that credentials are wanted.
func (g *guard) challenge(v *visit) {
	switch g.auth {
	case Basic:
		v.w.Header().Set("WWW-Authenticate", `Basic realm="moods"`)
	case Bearer:
		challenge := fmt.Sprintf("Bearer realm=%q,service=%q", "http://"+v.r.Host+tokenPath, service)
		if repo := repoOf(v.r.URL.Path); repo != "" {
			challenge += fmt.Sprintf(",scope=\"repository:%s:pull,push\"", repo)
		}
		v.w.Header().Set("WWW-Authenticate", challenge)
	}
	v.say(http.StatusUnauthorized)
}

// repoOf is the repository in a path; empty for none.
func repoOf(path string) string {
	rest, ok := strings.CutPrefix(path, "/v2/")
	for _, mark := range []string{"/blobs/", "/manifests/"} {
		if repo, _, found := strings.Cut(rest, mark); ok && found {
			return repo
		}
	}
	return ""
}

// token answers a request for a token: by GET with name and password.
func (g *guard) token(w http.ResponseWriter, r *http.Request) {
	if !g.knows(r) {
		g.wrong("a token was asked for with wrong credentials (or none): %s", r.URL.RawQuery)
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	q := r.URL.Query()
	if q.Get("service") != service {
		g.wrong("a token was asked for the service %q", q.Get("service"))
	}
	for _, scope := range q["scope"] {
		if !g.mayAsk(scope) {
			g.wrong("a token was asked for with the scope %q", scope)
		}
	}
	token := rand.Text()
	g.mu.Lock()
	g.tokens[token] = q["scope"]
	g.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	answer := map[string]any{"token": token, "expires_in": 300}
	_ = json.NewEncoder(w).Encode(answer) // who is gone needs none
}

func (g *guard) mayAsk(scope string) bool {
	for _, repo := range g.repos {
		if strings.HasPrefix(scope, "repository:"+repo+":") {
			return true
		}
	}
	return false
}
