package gke

import (
	"maps"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
)

// Manifests are the objects of a job: its Secrets, the Service of its hosts, and
// last the Job, or for several slices the JobSet. Nothing is asked of a cluster,
// and the objects are the caller's. The error is a [*JobError] with all findings.
//
// The Secrets and the Service name the job in a label; who creates the objects
// ties them to the life of the last one.
func Manifests(j Job) ([]*unstructured.Unstructured, error) {
	if err := checkJob(j); err != nil {
		return nil, err
	}
	var typed []any
	for _, s := range jobSecrets(j) {
		typed = append(typed, s)
	}
	if hostsOf(j) > 1 && slicesOf(j) == 1 {
		typed = append(typed, hostService(j))
	}
	if slicesOf(j) == 1 {
		typed = append(typed, batchJob(j))
	}
	var objects []*unstructured.Unstructured
	for _, t := range typed {
		o, err := untyped(t)
		if err != nil {
			return nil, err
		}
		objects = append(objects, o)
	}
	if slicesOf(j) > 1 {
		o, err := jobSet(j)
		if err != nil {
			return nil, err
		}
		objects = append(objects, o)
	}
	return objects, checkSizes(objects)
}

func slicesOf(j Job) int { return max(j.Slices, 1) }
func hostsOf(j Job) int  { return max(j.Accelerator.Hosts, 1) }

// untyped takes the empty fields away that the server sets, and that would only
// stand in a reader's way.
func untyped(object any) (*unstructured.Unstructured, error) {
	m, err := runtime.DefaultUnstructuredConverter.ToUnstructured(object)
	if err != nil {
		return nil, err
	}
	for _, path := range [][]string{
		{"status"},
		{"metadata", "creationTimestamp"},
		{"spec", "template", "metadata", "creationTimestamp"},
	} {
		unstructured.RemoveNestedField(m, path...)
	}
	return &unstructured.Unstructured{Object: m}, nil
}

// labelsOf are on all that is made for a job, and on its pods.
func labelsOf(j Job) map[string]string {
	return map[string]string{ManagedByLabel: ManagedBy, JobLabel: j.Name}
}

// ownerAnnotation names who submitted the job. It is no label, as those cannot hold an @.
const ownerAnnotation = Domain + "owner"

// acceleratorAnnotation names what the job asked for, for [Resolve].
const acceleratorAnnotation = Domain + "accelerator"

// priorityLabel names Kueue's priority class of a job.
const priorityLabel = "kueue.x-k8s.io/priority-class"

// topMeta is of the Job or JobSet, which carries all that is known of the job.
func topMeta(j Job) metav1.ObjectMeta {
	labels := labelsOf(j)
	if j.Queue != "" {
		labels[queueLabel] = j.Queue
	}
	if j.Priority != "" {
		labels[priorityLabel] = j.Priority
	}
	meta := partMeta(j, j.Name)
	annotations := map[string]string{acceleratorAnnotation: j.Accelerator.String()}
	maps.Copy(annotations, meta.Annotations)
	for name, value := range j.Facts {
		annotations[Domain+name] = value
	}
	meta.Labels, meta.Annotations = labels, annotations
	return meta
}

// partMeta is of anything that is made for the job. It names whose it is, as it
// may be left when the job is gone.
func partMeta(j Job, name string) metav1.ObjectMeta {
	meta := metav1.ObjectMeta{Name: name, Namespace: j.Namespace, Labels: labelsOf(j)}
	if j.Owner != "" {
		meta.Annotations = map[string]string{ownerAnnotation: j.Owner}
	}
	return meta
}

// batchJob is the Job of one slice.
func batchJob(j Job) *batchv1.Job {
	spec := jobSpec(j)
	spec.TTLSecondsAfterFinished = seconds32(j.Keep)
	// Kueue starts what it admits; a job that is not suspended from the start could
	// make pods before Kueue has seen it
	if j.Queue != "" {
		spec.Suspend = new(true)
	}
	retryJob(&spec, j)
	return &batchv1.Job{
		TypeMeta:   metav1.TypeMeta{APIVersion: "batch/v1", Kind: "Job"},
		ObjectMeta: topMeta(j),
		Spec:       spec,
	}
}

// jobSpec is what the Job of one slice and each Job of a JobSet have in common.
// It has no activeDeadlineSeconds: when a Job's deadline passes, its pods are
// deleted and their logs with them, and the time spent waiting for a node counts.
// Job.Timeout is the pod's instead.
func jobSpec(j Job) batchv1.JobSpec {
	hosts := int32(hostsOf(j))
	spec := batchv1.JobSpec{
		Parallelism: &hosts,
		Completions: &hosts,
		Template: corev1.PodTemplateSpec{
			ObjectMeta: metav1.ObjectMeta{Labels: labelsOf(j), Annotations: podAnnotations(j)},
			Spec:       podSpec(j),
		},
	}
	// of several hosts each has a number; GKE's webhook gives TPU workers their names
	// and numbers when the Job is Indexed and its pods have a subdomain
	if hosts > 1 || slicesOf(j) > 1 {
		spec.CompletionMode = new(batchv1.IndexedCompletion)
	}
	return spec
}

// retryJob says how often failed pods are made again. Pods that were lost with
// their node, or evicted, do not count as failures when retries are asked for. Of
// several hosts each may fail so often: when one does, the others lose their peer
// and fail as well, and together they would use up the retries of the whole job.
func retryJob(spec *batchv1.JobSpec, j Job) {
	if j.Retries == 0 {
		spec.BackoffLimit = new(int32(0))
		return
	}
	retries := int32(j.Retries)
	if *spec.Completions > 1 {
		spec.BackoffLimitPerIndex, spec.MaxFailedIndexes = &retries, new(int32(0))
	} else {
		spec.BackoffLimit = &retries
	}
	spec.PodFailurePolicy = onDisruption(batchv1.PodFailurePolicyActionIgnore)
}

func onDisruption(action batchv1.PodFailurePolicyAction) *batchv1.PodFailurePolicy {
	return &batchv1.PodFailurePolicy{Rules: []batchv1.PodFailurePolicyRule{{
		Action: action,
		OnPodConditions: []batchv1.PodFailurePolicyOnPodConditionsPattern{
			{Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue},
		},
	}}}
}

// hostService gives the hosts of a slice names that they find each other by:
// NAME-0.NAME and so on. They need them before any of them is ready.
func hostService(j Job) *corev1.Service {
	return &corev1.Service{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Service"},
		ObjectMeta: partMeta(j, j.Name),
		Spec: corev1.ServiceSpec{
			ClusterIP:                corev1.ClusterIPNone,
			Selector:                 map[string]string{JobLabel: j.Name},
			PublishNotReadyAddresses: true,
		},
	}
}

// seconds is a duration as Kubernetes has it: rounded up, nil for none.
func seconds(d time.Duration) *int64 {
	if d == 0 {
		return nil
	}
	return new(int64((d + time.Second - 1) / time.Second))
}

func seconds32(d time.Duration) *int32 {
	if s := seconds(d); s != nil {
		return new(int32(*s))
	}
	return nil
}
