package kube

import (
	"bytes"
	"context"
	"embed"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

// Names of the definitions of resources that a test can have.
const (
	JobSetCRD = "jobset" // jobset.x-k8s.io/v1alpha2
	KueueCRD  = "kueue"  // LocalQueue and Workload of kueue.x-k8s.io
)

//go:embed testdata/jobset.yaml testdata/kueue.yaml
var definitionFiles embed.FS

// ApplyCRD defines resources of JobSet or Kueue, whose API is then there and
// whose controllers are not. It returns when the API is served.
func (c *Cluster) ApplyCRD(ctx context.Context, name string) error {
	content, err := definitionFiles.ReadFile("testdata/" + name + ".yaml")
	if err != nil {
		return fmt.Errorf("no definition of %q", name)
	}
	for _, document := range bytes.Split(content, []byte("\n---\n")) {
		definition := &unstructured.Unstructured{}
		if err := yaml.Unmarshal(document, &definition.Object); err != nil {
			return fmt.Errorf("read the definition of %s: %w", name, err)
		}
		_, err := c.Client.Resource(crds).Create(ctx, definition, metav1.CreateOptions{FieldValidation: metav1.FieldValidationStrict})
		if err != nil && !apierrors.IsAlreadyExists(err) { // another test has defined it
			return fmt.Errorf("define %s: %w", definition.GetName(), err)
		}
		if err := c.waitServed(ctx, definition.GetName()); err != nil {
			return err
		}
	}
	return nil
}

// waitServed waits until objects of a definition can be made.
func (c *Cluster) waitServed(ctx context.Context, name string) error {
	return until(ctx, name, func(ctx context.Context) (bool, error) {
		definition, err := c.Client.Resource(crds).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return false, err
		}
		found, _, err := unstructured.NestedFieldNoCopy(definition.Object, "status", "conditions")
		conditions, _ := found.([]any) // null at first
		for _, condition := range conditions {
			fields, _ := condition.(map[string]any)
			if fields["type"] == "Established" && fields["status"] == "True" {
				return true, nil
			}
			if fields["type"] == "NonStructuralSchema" && fields["status"] == "True" {
				return false, fmt.Errorf("its schema is not structural: %v", fields["message"])
			}
		}
		return false, err
	})
}
