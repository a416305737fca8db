package moods

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestNamesAreOfOneMood(t *testing.T) {
	seen := map[string]bool{}
	for _, m := range All() {
		if seen[m.Name] || m.Name == "" || m.Way == 0 || m.of == nil || m.act == nil {
			t.Errorf("%+v", m)
		}
		seen[m.Name] = true
	}
}

func TestDrawRepeats(t *testing.T) {
	met := map[string]bool{}
	for round := range 200 {
		a, b := Draw(7, round, Pushes, true), Draw(7, round, Pushes, true)
		if a.String() != b.String() {
			t.Fatalf("round %d: %s\n%s", round, a, b)
		}
		for _, e := range a.Events {
			if met[e.Mood.Name] = true; e.Mood.Slow || e.Mood.Way&Pushes == 0 {
				t.Errorf("round %d: %s", round, a)
			}
		}
		if reflect.DeepEqual(a.String(), Draw(8, round, Pushes, true).String()) && round < 3 {
			t.Errorf("another seed, the same plan: %s", a)
		}
	}
	for _, m := range All() {
		if m.Way&Pushes != 0 && !m.Slow && !met[m.Name] {
			t.Errorf("200 rounds have no %q", m.Name)
		}
	}
}

// behind is a stand-in for the registry that keeps the last body.
type behind struct {
	mu   sync.Mutex
	body []byte
	auth []string
}

func (b *behind) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	data, _ := io.ReadAll(r.Body)
	b.mu.Lock()
	b.body, b.auth = data, append(b.auth, r.Header.Get("Authorization"))
	b.mu.Unlock()
	if r.Method == http.MethodPost {
		w.Header().Set("Location", "http://"+r.Host+r.URL.Path+"session")
		w.WriteHeader(http.StatusAccepted)
		return
	}
	w.Write([]byte(strings.Repeat("answer", 100)))
}

// start returns a proxy with one mood, by its name, before a stand-in.
func start(t *testing.T, auth Auth, name string, part float64) (*Proxy, *behind) {
	t.Helper()
	b := &behind{}
	server := httptest.NewServer(b)
	t.Cleanup(server.Close)
	plan := Plan{Auth: auth}
	for _, m := range All() {
		if m.Name == name {
			plan.Events = []Event{{m, 1, part}}
		}
	}
	if name != "" && plan.Events == nil {
		t.Fatalf("no mood %q", name)
	}
	p, err := Start(plan, Options{Registry: server.Listener.Addr().String(), Repos: []string{"app"}, Patience: 50 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p, b
}

// ask makes a request of its own connection.
func ask(t *testing.T, method, url string, body []byte, header ...string) (*http.Response, string, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	return resp, string(data), err
}

const (
	session = "/v2/app/blobs/uploads/session"
	blob    = "/v2/app/blobs/sha256:00"
	tag     = "/v2/app/manifests/1"
)

func TestMoods(t *testing.T) {
	const size = 200 << 10 // so much a server reads of a request that it refuses: of more, its answer may be lost
	body := bytes.Repeat([]byte("x"), size)
	for _, c := range []struct {
		mood         string
		method, path string
		status       int    // 0: the connection ends
		cutShort     bool   // in the answer's body
		header       string // of the answer
		behind       int    // bytes that came to the registry; -1: no matter
	}{
		{mood: "reset in a blob that goes up", method: "PATCH", path: session, behind: -1},
		{mood: "closed in a blob that goes up", method: "PATCH", path: session, behind: -1},
		{mood: "a blob that goes up stands still", method: "PUT", path: session, behind: -1},
		{mood: "the answer is lost", method: "PUT", path: session, behind: size},
		{mood: "500 instead of doing it", method: "PUT", path: tag, status: 500, behind: 0},
		{mood: "502 after it was done", method: "PUT", path: tag, status: 502, behind: size},
		{mood: "429 with seconds", method: "PUT", path: tag, status: 429, header: "Retry-After", behind: -1},
		{mood: "429 with a date", method: "PUT", path: tag, status: 429, header: "Retry-After", behind: -1},
		{mood: "413 above 64 KiB", method: "PUT", path: session, status: 413, behind: 0},
		{mood: "413 above 5 MiB", method: "PUT", path: session, status: 200, behind: size},
		{mood: "405 to every HEAD of a blob", method: "HEAD", path: blob, status: 405, behind: -1},
		{mood: "a session is gone", method: "PUT", path: session, status: 404, behind: 0},
		{mood: "a blob trickles up", method: "PUT", path: session, status: 200, behind: size},
		{mood: "reset in an answer", method: "GET", path: blob, status: 200, cutShort: true, behind: -1},
		{mood: "closed in an answer", method: "GET", path: blob, status: 200, cutShort: true, behind: -1},
		{mood: "blobs come from another host", method: "GET", path: blob, status: 307, header: "Location", behind: -1},
		{mood: "another digest for a manifest", method: "GET", path: tag, status: 200, header: "Docker-Content-Digest", behind: -1},
	} {
		t.Run(c.mood, func(t *testing.T) {
			p, b := start(t, Open, c.mood, 0.5)
			resp, _, err := ask(t, c.method, "http://"+p.Host+c.path, body)
			switch {
			case c.status == 0 && err == nil:
				t.Errorf("an answer: %s", resp.Status)
			case c.status != 0 && resp == nil:
				t.Errorf("no answer: %v", err)
			case c.status != 0 && (resp.StatusCode != c.status || (err != nil) != c.cutShort || c.header != "" && resp.Header.Get(c.header) == ""):
				t.Errorf("%s, %v, %v", resp.Status, resp.Header, err)
			}
			b.mu.Lock()
			defer b.mu.Unlock()
			if c.behind >= 0 && len(b.body) != c.behind {
				t.Errorf("%d bytes came to the registry", len(b.body))
			}
			if got := p.Happened(); len(got) != 1 {
				t.Errorf("happened: %v", got)
			}
		})
	}
}

// TestWrongs: what no client may do is noticed.
func TestWrongs(t *testing.T) {
	t.Run("credentials for another host", func(t *testing.T) {
		p, _ := start(t, Open, "blobs go up at another host", 0)
		resp, _, err := ask(t, "POST", "http://"+p.Host+"/v2/app/blobs/uploads/", nil)
		if err != nil {
			t.Fatal(err)
		}
		to := resp.Header.Get("Location")
		if !strings.Contains(to, p.stranger) {
			t.Fatalf("sent to %s", to)
		}
		if _, _, err := ask(t, "PUT", to, nil, "Authorization", "Bearer x"); err != nil {
			t.Fatal(err)
		}
		wantWrong(t, p, "another host got Authorization")
	})
	t.Run("a scope that nobody needs", func(t *testing.T) {
		p, _ := start(t, Bearer, "", 0)
		url := "http://" + p.Host + tokenPath + "?service=" + service + "&scope=repository:other:pull"
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.SetBasicAuth(User, p.Password)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		wantWrong(t, p, `with the scope "repository:other:pull"`)
	})
	t.Run("back too early", func(t *testing.T) {
		p, _ := start(t, Open, "429 with seconds", 0)
		for range 2 {
			if _, _, err := ask(t, "GET", "http://"+p.Host+tag, nil); err != nil {
				t.Fatal(err)
			}
		}
		wantWrong(t, p, "earlier than it was asked to")
	})
}

func wantWrong(t *testing.T, p *Proxy, text string) {
	t.Helper()
	if wrongs := strings.Join(p.Wrongs(), "\n"); !strings.Contains(wrongs, text) {
		t.Errorf("noticed: %q, want %q", wrongs, text)
	}
}

// TestBearer: without a token nothing passes, and nothing passes any more when tokens have expired.
func TestBearer(t *testing.T) {
	p, b := start(t, Bearer, "", 0)
	resp, _, err := ask(t, "GET", "http://"+p.Host+tag, nil)
	if err != nil || resp.StatusCode != http.StatusUnauthorized || !strings.Contains(resp.Header.Get("WWW-Authenticate"), "repository:app:") {
		t.Fatalf("%v %v", resp, err)
	}
	p.guard.tokens["good"] = []string{"repository:app:pull"}
	for _, c := range []struct {
		method, path string
		status       int
	}{{"GET", tag, 200}, {"PUT", tag, 401}, {"GET", "/v2/other/manifests/1", 401}} {
		resp, _, err := ask(t, c.method, "http://"+p.Host+c.path, nil, "Authorization", "Bearer good")
		if err != nil || resp.StatusCode != c.status {
			t.Errorf("%s %s: %v %v", c.method, c.path, resp, err)
		}
	}
	p.guard.expire()
	if resp, _, err := ask(t, "GET", "http://"+p.Host+tag, nil, "Authorization", "Bearer good"); err != nil || resp.StatusCode != 401 {
		t.Errorf("%v %v", resp, err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, a := range b.auth {
		if a != "" {
			t.Errorf("the registry behind got %q", a)
		}
	}
}
