package gke

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
)

// apiServer answers lists, watches and logs as an API server does. What it
// cannot show, because its behaviour is ours, the tests with a real Kubernetes do.
type apiServer struct {
	*httptest.Server
	log http.HandlerFunc // of every pod

	mu      sync.Mutex
	version int
	oldest  int // watches from before end with 410
	down    bool
	denied  string                               // a resource that may not be read
	objects map[string]map[string]map[string]any // resource, name
	changes []change
	wake    chan struct{}
	lists   map[string]int // how often a resource was listed
}

type change struct {
	version        int
	resource, kind string
	object         map[string]any
}

func newAPIServer(t *testing.T) *apiServer {
	t.Helper()
	s := &apiServer{version: 10, objects: map[string]map[string]map[string]any{}, wake: make(chan struct{}), lists: map[string]int{}}
	s.Server = httptest.NewServer(http.HandlerFunc(s.serve))
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
	})
	return s
}

// run is a handle on job "train".
func (s *apiServer) run(t *testing.T) *Run {
	t.Helper()
	config := &rest.Config{Host: s.URL, QPS: -1}
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return &Run{Cluster: &Cluster{Server: s.URL, Namespace: "ml", config: config, dynamic: client}, Namespace: "ml", Name: "train", Kind: "Job"}
}

// put adds or changes an object; kind is ADDED, MODIFIED or DELETED.
func (s *apiServer) put(resource, kind string, object map[string]any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.version++
	object = jsonCopy(object)
	meta := object["metadata"].(map[string]any)
	meta["resourceVersion"] = fmt.Sprint(s.version)
	name := meta["name"].(string)
	if s.objects[resource] == nil {
		s.objects[resource] = map[string]map[string]any{}
	}
	s.objects[resource][name] = object
	if kind == "DELETED" {
		delete(s.objects[resource], name)
	}
	s.changes = append(s.changes, change{s.version, resource, kind, object})
	close(s.wake)
	s.wake = make(chan struct{})
}

// forget makes the server know no versions up to now, as etcd's compaction does.
func (s *apiServer) forget() {
	s.mu.Lock()
	s.version++
	s.oldest, s.changes = s.version, nil
	s.mu.Unlock()
	s.CloseClientConnections()
}

// setDown makes the server answer as one that shuts down, or as usual again.
func (s *apiServer) setDown(down bool) {
	s.mu.Lock()
	s.down = down
	s.mu.Unlock()
	s.CloseClientConnections()
}

func jsonCopy(object map[string]any) map[string]any {
	raw, err := json.Marshal(object)
	if err != nil {
		panic(err)
	}
	out := map[string]any{}
	if err := json.Unmarshal(raw, &out); err != nil {
		panic(err)
	}
	return out
}

func (s *apiServer) serve(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	down, denied := s.down, s.denied
	s.mu.Unlock()
	if down {
		status(w, http.StatusServiceUnavailable, metav1.StatusReasonServiceUnavailable, "the server is currently unable to handle the request")
		return
	}
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	at := slices.Index(parts, "ml") + 1
	if at == 0 && slices.Contains(parts, "nodes") {
		at = slices.Index(parts, "nodes")
	}
	if at >= len(parts) {
		status(w, http.StatusNotFound, metav1.StatusReasonNotFound, "no such path")
		return
	}
	resource := parts[at]
	switch {
	case resource == denied:
		status(w, http.StatusForbidden, metav1.StatusReasonForbidden, resource+` is forbidden: User "eve" cannot list resource`)
	case len(parts) == at+3 && parts[at+2] == "log" && s.log != nil:
		s.log(w, r)
	case len(parts) > at+1:
		s.get(w, resource, parts[at+1])
	case r.URL.Query().Get("watch") != "":
		s.watch(w, r, resource)
	default:
		s.list(w, resource)
	}
}

func status(w http.ResponseWriter, code int, reason metav1.StatusReason, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(statusObject(code, reason, message)) // the client that went away sees it
}

func statusObject(code int, reason metav1.StatusReason, message string) map[string]any {
	return map[string]any{"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason, "message": message}
}

func (s *apiServer) get(w http.ResponseWriter, resource, name string) {
	s.mu.Lock()
	object := s.objects[resource][name]
	s.mu.Unlock()
	if object == nil {
		status(w, http.StatusNotFound, metav1.StatusReasonNotFound, resource+" "+name+" not found")
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(object)
}

func (s *apiServer) list(w http.ResponseWriter, resource string) {
	s.mu.Lock()
	items := []any{}
	for _, o := range s.objects[resource] {
		items = append(items, o)
	}
	s.lists[resource]++
	list := map[string]any{"kind": "List", "apiVersion": "v1", "metadata": map[string]any{"resourceVersion": fmt.Sprint(s.version)}, "items": items}
	s.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(list)
}

func (s *apiServer) watch(w http.ResponseWriter, r *http.Request, resource string) {
	var from int
	_, _ = fmt.Sscan(r.URL.Query().Get("resourceVersion"), &from)
	w.Header().Set("Content-Type", "application/json")
	encoder := json.NewEncoder(w)
	for {
		s.mu.Lock()
		if from < s.oldest {
			s.mu.Unlock()
			_ = encoder.Encode(map[string]any{"type": "ERROR", "object": statusObject(http.StatusGone, metav1.StatusReasonExpired, "too old resource version")})
			return
		}
		var out []change
		for _, c := range s.changes {
			if c.version > from && c.resource == resource {
				out = append(out, c)
			}
		}
		from = max(from, s.version)
		wake := s.wake
		s.mu.Unlock()
		for _, c := range out {
			if encoder.Encode(map[string]any{"type": c.kind, "object": c.object}) != nil {
				return
			}
		}
		w.(http.Flusher).Flush()
		select {
		case <-wake:
		case <-r.Context().Done():
			return
		case <-time.After(30 * time.Second):
			return
		}
	}
}
