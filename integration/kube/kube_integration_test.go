//go:build integration

package kube

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/ibuild/ibuild/integration/testenv"
)

var jobs = schema.GroupVersionResource{Group: "batch", Version: "v1", Resource: "jobs"}

// patience is how long a job of these tests may take.
const patience = 60 * time.Second

// surroundings are what most tests share: a registry and a cluster.
type surroundings struct {
	env     *testenv.Env
	cluster *Cluster
	image   string // busybox, in the registry
}

var shared = sync.OnceValues(func() (s surroundings, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Minute) // the first on a machine builds Kubernetes
	defer cancel()
	if s.env, err = testenv.Start(ctx, testenv.Options{Log: os.Stderr}); err != nil {
		return s, err
	}
	base, err := s.env.Base(ctx, "busybox")
	if err != nil {
		return s, err
	}
	s.image = base.Ref
	nodes, err := GKENodes(CPU, L4, V5E)
	if err != nil {
		return s, err
	}
	s.cluster, err = Start(ctx, Options{Nodes: nodes, Loopback: []string{s.env.Registry.Addr}, Log: os.Stderr})
	return s, err
})

func TestMain(m *testing.M) {
	code := m.Run()
	if victim() {
		os.Exit(code)
	}
	s, _ := shared() // its error was a test's
	if s.cluster != nil {
		if err := s.cluster.Close(); err != nil {
			fmt.Fprintln(os.Stderr, "close the cluster:", err)
			code = 1
		}
	}
	if s.env != nil {
		if err := s.env.Close(); err != nil {
			fmt.Fprintln(os.Stderr, "close the environment:", err)
			code = 1
		}
	}
	os.Exit(code)
}

func surround(t *testing.T) surroundings {
	t.Helper()
	s, err := shared()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// script is a job that runs a line of shell.
func script(name, image, line string) *batchv1.Job {
	retries, grace := int32(0), int64(1)
	return &batchv1.Job{
		TypeMeta:   metav1.TypeMeta{APIVersion: "batch/v1", Kind: "Job"},
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: batchv1.JobSpec{
			BackoffLimit: &retries,
			Template: corev1.PodTemplateSpec{Spec: corev1.PodSpec{
				RestartPolicy: corev1.RestartPolicyNever, TerminationGracePeriodSeconds: &grace,
				Containers: []corev1.Container{{Name: "main", Image: image, Command: []string{"sh", "-c", line}}},
			}},
		},
	}
}

// withDevices asks for devices, as somebody who knows GKE's labels does.
func withDevices(job *batchv1.Job, name corev1.ResourceName, count string, selector map[string]string) *batchv1.Job {
	spec := &job.Spec.Template.Spec
	spec.NodeSelector = selector
	spec.Containers[0].Resources.Limits = corev1.ResourceList{name: resource.MustParse(count)}
	return job
}

// submit makes a job, and removes it when the test ends.
func submit(t *testing.T, c *Cluster, job *batchv1.Job) {
	t.Helper()
	if err := c.create(t.Context(), jobs, "default", job); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		background := metav1.DeletePropagationBackground
		_ = c.Client.Resource(jobs).Namespace("default").Delete(context.Background(), job.Name, metav1.DeleteOptions{PropagationPolicy: &background})
	})
}

// podsOf are the pods of a job.
func podsOf(ctx context.Context, c *Cluster, job string) ([]corev1.Pod, error) {
	list, err := c.Client.Resource(pods).Namespace("default").List(ctx, metav1.ListOptions{LabelSelector: batchv1.JobNameLabel + "=" + job})
	if err != nil {
		return nil, err
	}
	var found corev1.PodList
	err = runtime.DefaultUnstructuredConverter.FromUnstructured(list.UnstructuredContent(), &found)
	return found.Items, err
}

// waitPod waits until a pod of the job is as wanted, and returns it.
func waitPod(t *testing.T, c *Cluster, job, what string, wanted func(*corev1.Pod) bool) corev1.Pod {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var last []corev1.Pod
	var found corev1.Pod
	err := until(ctx, what, func(ctx context.Context) (bool, error) {
		list, err := podsOf(ctx, c, job)
		last = list
		for _, pod := range list {
			if wanted(&pod) {
				found = pod
				return true, nil
			}
		}
		return false, err
	})
	if err != nil {
		for _, pod := range last {
			t.Logf("%s: %+v", pod.Name, pod.Status)
		}
		t.Fatal(err)
	}
	return found
}

// terminated is how the first container of a pod ended; nil while it has not.
func terminated(pod *corev1.Pod) *corev1.ContainerStateTerminated {
	if len(pod.Status.ContainerStatuses) == 0 {
		return nil
	}
	return pod.Status.ContainerStatuses[0].State.Terminated
}

func ended(pod *corev1.Pod) bool { return terminated(pod) != nil }

func logs(t *testing.T, c *Cluster, pod string) string {
	t.Helper()
	out, err := c.Kubectl(t.Context(), "logs", pod)
	if err != nil {
		t.Error(err)
	}
	return out
}

func TestJobs(t *testing.T) {
	s := surround(t)
	limited := script("too-much-memory", s.image, "tail /dev/zero")
	limited.Spec.Template.Spec.Containers[0].Resources.Limits = corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("32Mi")}
	for _, test := range []struct {
		job    *batchv1.Job
		code   int32
		reason string
		node   string // begins with
		says   string
	}{
		{script("succeeds", s.image, "echo first; echo second"), 0, "Completed", "", "first\nsecond\n"},
		{script("fails", s.image, "echo last words; exit 7"), 7, "Error", "", "last words\n"},
		{limited, 137, "OOMKilled", "", ""},
		{withDevices(script("gpu", s.image, "echo $NVIDIA_VISIBLE_DEVICES"), gpuResource, "1",
			map[string]string{"cloud.google.com/gke-accelerator": "nvidia-l4"}), 0, "Completed", "gke-ibuild-l4-", "0\n"},
		{withDevices(script("tpu", s.image, "echo $TPU_VISIBLE_CHIPS | tr , '\\n' | sort"), tpuResource, "4",
			map[string]string{"cloud.google.com/gke-tpu-accelerator": "tpu-v5-lite-podslice", "cloud.google.com/gke-tpu-topology": "2x2"}),
			0, "Completed", "gke-ibuild-v5e-", "0\n1\n2\n3\n"},
		{script("asks-the-registry", s.image, "wget -qO- http://"+s.env.Registry.Addr+"/v2/_catalog"), 0, "Completed", "", "library/busybox"},
	} {
		t.Run(test.job.Name, func(t *testing.T) {
			submit(t, s.cluster, test.job)
			pod := waitPod(t, s.cluster, test.job.Name, "its end", ended)
			if end := terminated(&pod); end.ExitCode != test.code || end.Reason != test.reason {
				t.Errorf("exit code %d, reason %s; want %d, %s", end.ExitCode, end.Reason, test.code, test.reason)
			}
			if !strings.HasPrefix(pod.Spec.NodeName, test.node) {
				t.Errorf("ran on %s, want %s", pod.Spec.NodeName, test.node)
			}
			if out := logs(t, s.cluster, pod.Name); !strings.Contains(out, test.says) {
				t.Errorf("says %q, want %q", out, test.says)
			}
		})
	}
}

func TestJobsThatCannotStart(t *testing.T) {
	s := surround(t)
	submit(t, s.cluster, script("no-image", s.env.Registry.Ref("team/missing:1"), "true"))
	waitPod(t, s.cluster, "no-image", "a failed pull", func(pod *corev1.Pod) bool {
		statuses := pod.Status.ContainerStatuses
		return len(statuses) > 0 && statuses[0].State.Waiting != nil && strings.Contains(statuses[0].State.Waiting.Reason, "ImagePull")
	})
	submit(t, s.cluster, withDevices(script("too-many", s.image, "true"), gpuResource, "8", nil))
	waitPod(t, s.cluster, "too-many", "that it cannot be placed", func(pod *corev1.Pod) bool {
		for _, condition := range pod.Status.Conditions {
			if condition.Type == corev1.PodScheduled && condition.Reason == corev1.PodReasonUnschedulable {
				return strings.Contains(condition.Message, "Insufficient nvidia.com/gpu")
			}
		}
		return false
	})
}

func TestSliceOfFourHosts(t *testing.T) {
	s := surround(t)
	hosts, err := GKENodes(V5ESlice)
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	for _, host := range hosts {
		if err := s.cluster.AddNode(t.Context(), host); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d more nodes in %s", len(hosts), since(begin))
	job := withDevices(script("slice", s.image, "echo host $JOB_COMPLETION_INDEX"), tpuResource, "4",
		map[string]string{"cloud.google.com/gke-tpu-topology": "4x4"})
	indexed, count := batchv1.IndexedCompletion, int32(len(hosts))
	job.Spec.CompletionMode, job.Spec.Completions, job.Spec.Parallelism = &indexed, &count, &count
	submit(t, s.cluster, job)
	ran := map[string]string{}
	for index := range hosts {
		pod := waitPod(t, s.cluster, "slice", "its end", func(pod *corev1.Pod) bool {
			return ended(pod) && pod.Annotations[batchv1.JobCompletionIndexAnnotation] == fmt.Sprint(index)
		})
		if out := logs(t, s.cluster, pod.Name); out != fmt.Sprintf("host %d\n", index) {
			t.Errorf("pod %d says %q", index, out)
		}
		ran[pod.Spec.NodeName] = pod.Name
	}
	if len(ran) != len(hosts) {
		t.Errorf("ran on %v, want each host once", ran)
	}
	for _, host := range hosts {
		if err := s.cluster.RemoveNode(t.Context(), host.Name); err != nil {
			t.Error(err)
		}
	}
}
