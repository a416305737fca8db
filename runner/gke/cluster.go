package gke

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/moby/buildkit/util/suggest"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// Access says which cluster is meant, and where in it.
type Access struct {
	Kubeconfig string // file; empty is $KUBECONFIG, then ~/.kube/config, then the pod's own service account
	Context    string // of the kubeconfig; empty is its current one
	Namespace  string // empty is the context's, or "default"
}

// Cluster is a way to one cluster. It may be used from several goroutines.
type Cluster struct {
	Context   string // name of the kubeconfig's context; empty inside a pod
	Server    string // address of the API server
	Namespace string // where jobs go when nothing else is said

	config    *rest.Config
	dynamic   dynamic.Interface
	warnings  *warnings
	name      gkeName // at Google; empty for a cluster of which that is not known
	googleAPI string  // in place of the address of GKE's API, for tests
}

// Requests that may be sent before the client slows itself down, as kubectl has it:
// a check asks a dozen questions at once. The API server defends itself.
const (
	requestsPerSecond = 50
	requestsAtOnce    = 300
)

// Open reads the kubeconfig. Nothing is asked of the cluster yet, and no plug-in
// for credentials is run before the first request. The error is an *Error.
func Open(a Access) (*Cluster, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = a.Kubeconfig
	overrides := &clientcmd.ConfigOverrides{CurrentContext: a.Context}
	overrides.Context.Namespace = a.Namespace
	loader := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, overrides)
	config, err := loader.ClientConfig()
	if err != nil {
		return nil, configError(a, loader, err)
	}
	namespace, _, err := loader.Namespace()
	if err != nil {
		return nil, configError(a, loader, err)
	}
	c := &Cluster{Context: a.Context, Server: config.Host, Namespace: namespace, config: config, warnings: &warnings{}}
	config.QPS, config.Burst = requestsPerSecond, requestsAtOnce
	config.WarningHandler = c.warnings
	if raw, err := loader.RawConfig(); err == nil {
		c.know(raw)
	}
	if c.dynamic, err = dynamic.NewForConfig(config); err != nil {
		return nil, fmt.Errorf("cluster %s: %w", config.Host, err)
	}
	return c, nil
}

// configError says what is wrong with a kubeconfig, and what to do.
func configError(a Access, loader clientcmd.ClientConfig, err error) error {
	e := &Error{Refusal: NotThere, Doing: "read the kubeconfig", Err: err}
	raw, unread := loader.RawConfig()
	switch {
	case clientcmd.IsEmptyConfig(err):
		e.Err = errors.New("there is none, and this is no pod")
		e.Hint = "gcloud container clusters get-credentials CLUSTER --location LOCATION writes one; --kubeconfig FILE names another"
	case unread == nil && a.Context != "" && raw.Contexts[a.Context] == nil:
		names := slices.Sorted(maps.Keys(raw.Contexts))
		e.Err = fmt.Errorf("it has no context %q", a.Context)
		if e.Hint = "it has " + strings.Join(names, ", "); len(names) == 0 {
			e.Hint = "it has none: gcloud container clusters get-credentials CLUSTER --location LOCATION writes one"
		}
		if match, ok := suggest.Search(a.Context, names, false); ok {
			e.Hint = "did you mean " + match + "?"
		}
	}
	return e
}

// know takes names from a kubeconfig. People rename contexts; what gcloud called
// the cluster's entry mostly stays.
func (c *Cluster) know(raw clientcmdapi.Config) {
	if c.Context == "" {
		c.Context = raw.CurrentContext
	}
	names := []string{c.Context}
	if entry := raw.Contexts[c.Context]; entry != nil {
		names = append(names, entry.Cluster)
	}
	for _, text := range names {
		if name, ok := readGKEName(text); ok {
			c.name = name
			return
		}
	}
}

// Warnings are what the API server warned of so far, each once, such as a version
// of an API that will go.
func (c *Cluster) Warnings() []string {
	if c.warnings == nil {
		return nil
	}
	return c.warnings.all()
}

// warnings gathers the API server's. It may be used from several goroutines.
type warnings struct {
	mu   sync.Mutex
	list []string
}

// HandleWarningHeader takes one of the API server's warnings; 299 is the code of all that it writes.
func (w *warnings) HandleWarningHeader(code int, _, text string) {
	const most = 20
	w.mu.Lock()
	defer w.mu.Unlock()
	if text = oneLine(text); code == 299 && text != "" && len(w.list) < most && !slices.Contains(w.list, text) {
		w.list = append(w.list, text)
	}
}

func (w *warnings) all() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.list)
}

// Resources that ibuild makes or reads.
var (
	jobs     = schema.GroupVersionResource{Group: "batch", Version: "v1", Resource: "jobs"}
	jobSets  = schema.GroupVersionResource{Group: "jobset.x-k8s.io", Version: "v1alpha2", Resource: "jobsets"}
	pods     = schema.GroupVersionResource{Version: "v1", Resource: "pods"}
	services = schema.GroupVersionResource{Version: "v1", Resource: "services"}
	secrets  = schema.GroupVersionResource{Version: "v1", Resource: "secrets"}
	nodes    = schema.GroupVersionResource{Version: "v1", Resource: "nodes"}
	events   = schema.GroupVersionResource{Version: "v1", Resource: "events"}
)
