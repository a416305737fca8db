package gke

import (
	"context"
	"encoding/json"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
)

// reader reads paths of the API server into Go values. The dynamic client would
// make maps of them first, which for a thousand nodes is most of a check's time.
// It may be used from several goroutines.
type reader struct{ rest rest.Interface }

func (c *Cluster) reader() (reader, error) {
	config := dynamic.ConfigFor(c.config)
	config.GroupVersion, config.APIPath = &schema.GroupVersion{Version: "v1"}, "/api"
	client, err := rest.RESTClientFor(config)
	if err != nil {
		return reader{}, fmt.Errorf("cluster %s: %w", c.Server, err)
	}
	return reader{client}, nil
}

// read asks for a path. The query is names and values in turn; empty values are left out.
func (r reader) read(ctx context.Context, into any, path string, query ...string) error {
	request := r.rest.Get().AbsPath(path)
	for i := 0; i+1 < len(query); i += 2 {
		if query[i+1] != "" {
			request = request.Param(query[i], query[i+1])
		}
	}
	data, err := request.DoRaw(ctx)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, into); err != nil {
		return fmt.Errorf("the answer at %s: %w", path, err)
	}
	return nil
}

// Lists are read in pages of as many, so that no answer is of any size.
const (
	nodePage = "500"
	podPage  = "500"
)

// nodes reads the nodes that a label selector selects; empty is all.
func (r reader) nodes(ctx context.Context, selector string) ([]corev1.Node, error) {
	var all []corev1.Node
	for from := ""; ; {
		var page corev1.NodeList
		if err := r.read(ctx, &page, "/api/v1/nodes", "labelSelector", selector, "limit", nodePage, "continue", from); err != nil {
			return nil, err
		}
		all = append(all, page.Items...)
		if from = page.Continue; from == "" {
			return all, nil
		}
	}
}

// inUse counts the devices that pods hold, by node. ok is false when there are
// more pods than one page: they would be read for a number that only people look at.
func (r reader) inUse(ctx context.Context) (used map[string]int64, ok bool, err error) {
	var page corev1.PodList
	err = r.read(ctx, &page, "/api/v1/pods", "limit", podPage, "fieldSelector", "spec.nodeName!=,status.phase!=Succeeded,status.phase!=Failed")
	if err != nil || page.Continue != "" {
		return nil, false, err
	}
	used = map[string]int64{}
	for i := range page.Items {
		spec := &page.Items[i].Spec
		for _, c := range spec.Containers {
			for _, kind := range []Kind{GPU, TPU} {
				q := c.Resources.Requests[corev1.ResourceName(Accelerator{Kind: kind}.Resource())]
				used[spec.NodeName] += q.Value()
			}
		}
	}
	return used, true, nil
}
