package gke

import (
	"fmt"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
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

	config  *rest.Config
	dynamic dynamic.Interface
}

// Open reads the kubeconfig. Nothing is asked of the cluster yet, and no plug-in
// for credentials is run before the first request.
func Open(a Access) (*Cluster, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = a.Kubeconfig
	overrides := &clientcmd.ConfigOverrides{CurrentContext: a.Context}
	overrides.Context.Namespace = a.Namespace
	loader := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, overrides)
	config, err := loader.ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("read the kubeconfig: %w", err)
	}
	namespace, _, err := loader.Namespace()
	if err != nil {
		return nil, fmt.Errorf("read the kubeconfig: %w", err)
	}
	c := &Cluster{Context: a.Context, Server: config.Host, Namespace: namespace, config: config}
	if raw, err := loader.RawConfig(); err == nil && c.Context == "" {
		c.Context = raw.CurrentContext
	}
	if c.dynamic, err = dynamic.NewForConfig(config); err != nil {
		return nil, fmt.Errorf("cluster %s: %w", config.Host, err)
	}
	return c, nil
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
