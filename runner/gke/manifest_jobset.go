package gke

import (
	"fmt"
	"strconv"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// slicesJob is the name of a JobSet's only Job template. The Jobs are
// NAME-slice-0 and so on, the pods NAME-slice-0-0-xxxxx.
const slicesJob = "slice"

// exclusiveTopology is JobSet's annotation for Jobs that share no domain of the label it names.
const exclusiveTopology = "alpha.jobset.sigs.k8s.io/exclusive-topology"

// nodePoolLabel tells the pools of a cluster apart. A TPU slice is a pool.
const nodePoolLabel = "cloud.google.com/gke-nodepool"

// jobSet is the job of several slices. It makes the Service of the hosts itself.
// The object has no type here: JobSet is no part of Kubernetes.
func jobSet(j Job) (*unstructured.Unstructured, error) {
	spec := jobSpec(j)
	spec.BackoffLimit = new(int32(0)) // one host's end is the slice's
	if j.Retries > 0 {
		spec.PodFailurePolicy = onDisruption(batchv1.PodFailurePolicyActionFailJob)
	}
	child, err := untyped(&batchv1.Job{Spec: spec})
	if err != nil {
		return nil, err
	}
	child.SetLabels(labelsOf(j))

	meta := topMeta(j)
	meta.Annotations[exclusiveTopology] = nodePoolLabel // each slice on a pool of its own
	set := &unstructured.Unstructured{Object: map[string]any{}}
	set.SetAPIVersion("jobset.x-k8s.io/v1alpha2")
	set.SetKind("JobSet")
	set.SetName(meta.Name)
	if meta.Namespace != "" {
		set.SetNamespace(meta.Namespace)
	}
	set.SetLabels(meta.Labels)
	set.SetAnnotations(meta.Annotations)
	body := map[string]any{
		"replicatedJobs": []any{map[string]any{
			"name":     slicesJob,
			"replicas": int64(j.Slices),
			"template": child.Object,
		}},
		"failurePolicy": setFailurePolicy(j),
		"network":       map[string]any{"enableDNSHostnames": true, "publishNotReadyAddresses": true},
	}
	if ttl := seconds(j.Keep); ttl != nil {
		body["ttlSecondsAfterFinished"] = *ttl
	}
	if j.Queue != "" {
		body["suspend"] = true
	}
	set.Object["spec"] = body
	return set, nil
}

// setFailurePolicy restarts all slices together, as none goes on without the
// others. Where a host was lost, its Job fails for the reason PodFailurePolicy, and
// that restart is not one of the retries.
func setFailurePolicy(j Job) map[string]any {
	policy := map[string]any{"maxRestarts": int64(j.Retries)}
	if j.Retries > 0 {
		policy["rules"] = []any{map[string]any{
			"name":                "disruption",
			"action":              "RestartJobSetAndIgnoreMaxRestarts",
			"onJobFailureReasons": []any{batchv1.JobReasonPodFailurePolicy},
		}}
	}
	return policy
}

// sliceVariables are what the slices find each other by. The address is written
// out: JobSet's own label for it takes 63 characters at most, and fails beyond.
func sliceVariables(j Job) []corev1.EnvVar {
	if slicesOf(j) == 1 {
		return nil
	}
	return []corev1.EnvVar{
		{Name: "MEGASCALE_NUM_SLICES", Value: strconv.Itoa(j.Slices)},
		{Name: "MEGASCALE_SLICE_ID", ValueFrom: &corev1.EnvVarSource{
			FieldRef: &corev1.ObjectFieldSelector{APIVersion: "v1", FieldPath: fmt.Sprintf("metadata.labels['%s']", sliceLabel)}}},
		{Name: "MEGASCALE_COORDINATOR_ADDRESS", Value: fmt.Sprintf("%[1]s-%[2]s-0-0.%[1]s", j.Name, slicesJob)},
	}
}

// longestPod is the longest name of a pod of the job; Kubernetes adds five
// characters of its own to the numbers.
func longestPod(j Job) string {
	name := j.Name
	if slicesOf(j) > 1 {
		name += "-" + slicesJob + "-" + strconv.Itoa(slicesOf(j)-1)
	}
	if hostsOf(j) > 1 || slicesOf(j) > 1 {
		name += "-" + strconv.Itoa(hostsOf(j)-1)
	}
	return name + "-00000"
}
