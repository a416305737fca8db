package gke

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
)

// store is an API server that keeps the objects of one namespace. It knows neither
// owners nor preconditions; the tests with a real Kubernetes have those.
type store struct {
	mu      sync.Mutex
	objects map[string]*unstructured.Unstructured // by resource/name
	refuse  func(method, resource string) (code int, reason metav1.StatusReason)
	lose    string // resource of which objects are made, and no answer arrives
}

// storeOf is a cluster whose namespace ml has the objects.
func storeOf(t *testing.T, objects ...*unstructured.Unstructured) (*Cluster, *store) {
	t.Helper()
	s := &store{objects: map[string]*unstructured.Unstructured{}}
	for _, o := range objects {
		s.objects[resourceOf(o.GetKind()).Resource+"/"+o.GetName()] = o.DeepCopy()
	}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	config := &rest.Config{Host: server.URL, QPS: -1}
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return &Cluster{Server: server.URL, Namespace: "ml", config: config, dynamic: client}, s
}

// names are those of all objects, with their kind, and the kind and name of their owner.
func (s *store) names() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []string
	for _, o := range s.objects {
		name := o.GetKind() + "/" + o.GetName()
		for _, owner := range o.GetOwnerReferences() {
			name += " of " + owner.Kind + "/" + owner.Name
		}
		list = append(list, name)
	}
	slices.Sort(list)
	return list
}

func (s *store) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, path, _ := strings.Cut(r.URL.Path, "/namespaces/ml/")
	resource, name, _ := strings.Cut(path, "/")
	if s.refuse != nil {
		if code, reason := s.refuse(r.Method, resource); code != 0 {
			status(w, code, reason, resource+" is not for you")
			return
		}
	}
	var sent *unstructured.Unstructured
	if r.Method == http.MethodPost || r.Method == http.MethodPut {
		sent = &unstructured.Unstructured{}
		if err := json.NewDecoder(r.Body).Decode(&sent.Object); err != nil {
			status(w, http.StatusBadRequest, metav1.StatusReasonBadRequest, err.Error())
			return
		}
		path = resource + "/" + sent.GetName()
	}
	have := s.objects[path]
	switch {
	case r.Method == http.MethodGet && name == "":
		s.list(w, resource, r.URL.Query().Get("labelSelector"))
		return
	case r.Method == http.MethodPost && have != nil:
		status(w, http.StatusConflict, metav1.StatusReasonAlreadyExists, path+" already exists")
		return
	case r.Method == http.MethodPost, r.Method == http.MethodPut && have != nil:
		have = sent
		s.objects[path] = sent
	case have == nil:
		status(w, http.StatusNotFound, metav1.StatusReasonNotFound, path+" not found")
		return
	case r.Method == http.MethodDelete:
		delete(s.objects, path)
	}
	if r.Method == http.MethodPost && resource == s.lose {
		panic(http.ErrAbortHandler)
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(have.Object) // the client that went away sees it
}

func (s *store) list(w http.ResponseWriter, resource, selector string) {
	wanted, err := labels.Parse(selector)
	if err != nil {
		status(w, http.StatusBadRequest, metav1.StatusReasonBadRequest, err.Error())
		return
	}
	items := []any{}
	for path, o := range s.objects {
		if strings.HasPrefix(path, resource+"/") && wanted.Matches(labels.Set(o.GetLabels())) {
			items = append(items, o.Object)
		}
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{"kind": "List", "apiVersion": "v1", "metadata": map[string]any{}, "items": items})
}
