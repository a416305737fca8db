//go:build integration

package kube

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"
)

var (
	jobSets     = schema.GroupVersionResource{Group: "jobset.x-k8s.io", Version: "v1alpha2", Resource: "jobsets"}
	localQueues = schema.GroupVersionResource{Group: "kueue.x-k8s.io", Version: "v1beta1", Resource: "localqueues"}
)

const twoSlices = `
apiVersion: jobset.x-k8s.io/v1alpha2
kind: JobSet
metadata: {name: NAME}
spec:
  failurePolicy: {maxRestarts: 0}
  replicatedJobs:
    - name: slice
      replicas: REPLICAS
      template:
        spec:
          parallelism: 4
          completions: 4
          backoffLimit: 0
          template:
            spec:
              restartPolicy: RESTART
              nodeSelector: {cloud.google.com/gke-tpu-topology: 4x4}
              containers:
                - {name: main, image: "example.com/app:1", resources: {limits: {google.com/tpu: TPUS}}}
`

func TestJobSets(t *testing.T) {
	s := surround(t)
	if err := s.cluster.ApplyCRD(t.Context(), JobSetCRD); err != nil {
		t.Fatal(err)
	}
	for what, test := range map[string]struct{ name, replicas, restart, tpus, want string }{
		"good":               {"fine", "2", "Never", "4", ""},
		"long name":          {strings.Repeat("a", 50), "2", "Never", "4", "longer than 63"},
		"wrong name":         {"Fine", "2", "Never", "4", "metadata.name"},
		"replicas":           {"replicas", "-1", "Never", "4", "replicas"},
		"restart policy":     {"restart", "2", "Always", "4", "restartPolicy"},
		"number of what":     {"number", "2", "Never", "four", "google.com/tpu"},
		"replicas by a word": {"word", "many", "Never", "4", "replicas"},
	} {
		text := strings.NewReplacer("NAME", test.name, "REPLICAS", test.replicas, "RESTART", test.restart, "TPUS", test.tpus).Replace(twoSlices)
		object := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(text), &object.Object); err != nil {
			t.Fatal(err)
		}
		stored, err := s.cluster.Client.Resource(jobSets).Namespace("default").Create(t.Context(), object,
			metav1.CreateOptions{FieldValidation: metav1.FieldValidationStrict})
		if test.want != "" {
			if !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%s: %v", what, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", what, err)
			continue
		}
		list, _, _ := unstructured.NestedSlice(stored.Object, "spec", "replicatedJobs")
		if first, _ := list[0].(map[string]any); first["groupName"] != "default" {
			t.Errorf("%s: stored without defaults: %v", what, first)
		}
	}
	if err := s.cluster.ApplyCRD(t.Context(), "nothing"); err == nil {
		t.Error("an unknown definition was applied")
	}
}

func TestKueue(t *testing.T) {
	s := surround(t)
	if err := s.cluster.ApplyCRD(t.Context(), KueueCRD); err != nil {
		t.Fatal(err)
	}
	queue := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "kueue.x-k8s.io/v1beta1", "kind": "LocalQueue", "metadata": map[string]any{"name": "team"},
		"spec": map[string]any{"clusterQueue": "everybody"},
	}}
	if _, err := s.cluster.Client.Resource(localQueues).Namespace("default").Create(t.Context(), queue, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	newer := localQueues
	newer.Version = "v1beta2"
	got, err := s.cluster.Client.Resource(newer).Namespace("default").Get(t.Context(), "team", metav1.GetOptions{})
	if policy, _, _ := unstructured.NestedString(got.Object, "spec", "stopPolicy"); err != nil || policy != "None" {
		t.Errorf("as the newer version: %v, %v", got, err)
	}
}

func TestWhatTheAutoscalerSays(t *testing.T) {
	s := surround(t)
	if err := s.cluster.EmptyPools(t.Context(), 8, "h100", "v6e"); err != nil {
		t.Fatal(err)
	}
	if err := s.cluster.EmptyPools(t.Context(), 8, "h100", "v6e"); err != nil { // replaces
		t.Fatal(err)
	}
	status, err := s.cluster.Kubectl(t.Context(), "get", "configmap", "-n", "kube-system", "cluster-autoscaler-status", "-o", "jsonpath={.data.status}")
	if err != nil || strings.Count(status, "cloudProviderTarget: 0") != 2 || !strings.Contains(status, "maxSize: 8") || !strings.Contains(status, "gke-ibuild-v6e-") {
		t.Errorf("status: %v\n%s", err, status)
	}
	submit(t, s.cluster, withDevices(script("waits", s.image, "true"), gpuResource, "1",
		map[string]string{"cloud.google.com/gke-accelerator": "nvidia-h100-80gb"}))
	pod := waitPod(t, s.cluster, "waits", "it to wait", func(*corev1.Pod) bool { return true })
	if err := errors.Join(
		s.cluster.TriggeredScaleUp(t.Context(), "default", pod.Name, "h100", 0, 1, 8),
		s.cluster.NotTriggerScaleUp(t.Context(), "default", pod.Name, "1 max node group size reached"),
		s.cluster.FailedScaleUp(t.Context(), "default", pod.Name, "GCE_STOCKOUT"),
	); err != nil {
		t.Fatal(err)
	}
	described, err := s.cluster.Kubectl(t.Context(), "describe", "pod", pod.Name)
	for _, want := range []string{"0->1 (max: 8)", "pod didn't trigger scale-up: 1 max node group size reached", "failed: GCE_STOCKOUT", "cluster-autoscaler"} {
		if err != nil || !strings.Contains(described, want) {
			t.Errorf("%v: no %q in\n%s", err, want, described)
		}
	}
	if err := s.cluster.TriggeredScaleUp(t.Context(), "default", "no-such-pod", "h100", 0, 1, 8); err == nil {
		t.Error("an event of a pod that is not there")
	}
}

func TestQuotaIsTheServersOwn(t *testing.T) {
	s := surround(t)
	if _, err := s.cluster.Kubectl(t.Context(), "create", "namespace", "small"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.cluster.Kubectl(t.Context(), "create", "quota", "devices", "-n", "small", "--hard=requests.nvidia.com/gpu=0"); err != nil {
		t.Fatal(err)
	}
	job := withDevices(script("over", s.image, "true"), gpuResource, "1", nil)
	if err := s.cluster.create(t.Context(), jobs, "small", job); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := until(ctx, "the quota to forbid the pod", func(ctx context.Context) (bool, error) {
		out, err := s.cluster.Kubectl(ctx, "get", "events", "-n", "small")
		return strings.Contains(out, "exceeded quota: devices"), err
	}); err != nil {
		t.Error(err)
	}
}
