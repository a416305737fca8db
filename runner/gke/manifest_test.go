package gke

import (
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

const testImage = "registry.example/me/train@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

// testJob is a job on an accelerator, with nothing that need not be.
func testJob(t testing.TB, accelerator string) Job {
	t.Helper()
	a, err := Resolve(accelerator, false)
	if err != nil {
		t.Fatal(err)
	}
	return Job{Name: "train-7k2m", Namespace: "research", Image: testImage, Args: []string{"python", "train.py"}, Accelerator: a}
}

// goldenJobs are the jobs whose manifests are kept in testdata.
func goldenJobs(t testing.TB) map[string]Job {
	jobs := map[string]Job{}
	on := func(name, accelerator string, change func(*Job)) {
		j := testJob(t, accelerator)
		if change != nil {
			change(&j)
		}
		jobs[name] = j
	}
	on("cpu", "cpu", nil)
	on("gpu-any", "gpu:2", nil)
	for _, e := range Catalogue() {
		if e.Kind == GPU {
			on("gpu-"+e.Name, e.Name, nil)
			continue
		}
		said := map[bool]bool{}
		for _, o := range e.Options { // one of a single host, one of several
			if several := o.Hosts > 1; !said[several] {
				said[several] = true
				on("tpu-"+e.Name+"-"+o.Topology+"-hosts-"+strconv.Itoa(o.Hosts), e.Name+":"+o.Topology+":"+o.Machines[0], nil)
			}
		}
	}
	on("multislice", "v5e:4x4", func(j *Job) { j.Slices = 3 })
	on("multislice-all", "v5p:2x2x2:spot", func(j *Job) {
		j.Slices, j.Retries, j.Queue, j.Priority, j.Keep, j.Timeout = 2, 3, "tpus", "high", time.Hour, 24*time.Hour
		j.Volumes = []Volume{{Path: "/data", Bucket: "my-data"}}
	})
	on("spot-retries", "l4:spot", func(j *Job) { j.Retries = 2 })
	on("hosts-retries", "v6e:4x4", func(j *Job) { j.Retries = 2 })
	on("reservation", "h200", func(j *Job) { j.Reservation = "training" })
	on("reservation-shared", "h200", func(j *Job) { j.Reservation = "projects/capacity/reservations/training" })
	on("flex-start", "a100x8", func(j *Job) { j.FlexStart = true })
	on("kueue", "l4x4", func(j *Job) { j.Queue, j.Priority = "gpus", "low" })
	on("secrets", "cpu", func(j *Job) {
		j.SecretEnv = []Variable{{"HF_TOKEN", "hf_secret"}, {"WANDB_API_KEY", "$(HF_TOKEN)"}}
		j.Secrets = []SecretMount{{"keys", ""}, {"certificates", "/etc/certificates"}}
		j.PullConfig = []byte(`{"auths":{"registry.example":{"auth":"bWU6cHVsbA=="}}}`)
		j.ResultConfig = []byte(`{"auths":{"registry.example":{"auth":"bWU6cHVzaA=="}}}`)
	})
	on("volumes", "cpu", func(j *Job) {
		j.Volumes = []Volume{
			{Path: "/data", Claim: "datasets", Sub: "imagenet", ReadOnly: true},
			{Path: "/more", Claim: "datasets", ReadOnly: true},
			{Path: OutputFolder, Bucket: "my-results", Sub: "runs/7k2m"},
			{Path: "/models", Bucket: "my-models", ReadOnly: true},
			{Path: "/scratch", Claim: "scratch"},
		}
	})
	on("everything", "l4x2", func(j *Job) {
		j.Command, j.Args, j.Dir = []string{"/ibuild/bootstrap", "run", "--"}, []string{"python", "-c", "print('$(HOME) $$ $x')"}, "/app"
		j.CPU, j.Memory, j.Shm = "8", "32Gi", "16Gi"
		j.Timeout, j.Keep, j.Grace = 90*time.Minute, 1500*time.Millisecond, 2*time.Minute
		j.Selector = map[string]string{"cloud.google.com/gke-nodepool": "big"}
		j.Env = []Variable{{"LR", "0.1"}, {"EMPTY", ""}, {"TEXT", "a: b\n- c # $(LR)\n"}, {OutputVariable, "/elsewhere"}}
		j.ServiceAccount = "trainer"
		j.Owner = "anna@laptop"
		j.Facts = map[string]string{"source": "train.py", "results": "registry.example/me/train:run-7k2m"}
	})
	return jobs
}

func TestManifests(t *testing.T) {
	for name, j := range goldenJobs(t) {
		t.Run(name, func(t *testing.T) {
			objects, err := Manifests(j)
			if err != nil {
				t.Fatal(err)
			}
			data, err := YAML(objects)
			if err != nil {
				t.Fatal(err)
			}
			golden(t, "manifests/"+name+".yaml", data)
			checkObjects(t, j, objects)
		})
	}
}

// checkObjects holds what must be so of all manifests.
func checkObjects(t *testing.T, j Job, objects []*unstructured.Unstructured) {
	t.Helper()
	kinds := map[string]int{"Secret": 1, "Service": 2, "Job": 3, "JobSet": 3}
	last := 0
	for _, o := range objects {
		if o.GetLabels()[ManagedByLabel] != ManagedBy || o.GetLabels()[JobLabel] != j.Name || o.GetNamespace() != j.Namespace || kinds[o.GetKind()] < last {
			t.Errorf("%s %s: %v", o.GetKind(), o.GetName(), o.Object["metadata"])
		}
		last = kinds[o.GetKind()]
	}
	top := objects[len(objects)-1]
	if top.GetName() != j.Name || last != 3 || top.GetKind() == "JobSet" != (j.Slices > 1) {
		t.Errorf("the last is %s %s", top.GetKind(), top.GetName())
	}
	data, err := YAML(objects)
	for _, banned := range []string{"TPU_WORKER", "\nstatus:", "creationTimestamp", "null", "hf_secret", "bWU6c"} {
		if err != nil || strings.Contains(string(data), banned) {
			t.Errorf("%q is in the YAML: %v", banned, err)
		}
	}
}

// TestAllAccelerators asks for each size there is: the devices of all pods together
// are those of the accelerator, and the pods find nodes by GKE's labels.
func TestAllAccelerators(t *testing.T) {
	for _, e := range Catalogue() {
		for _, o := range e.Options {
			j := testJob(t, e.Name+":"+o.Size())
			objects, err := Manifests(j)
			if err != nil {
				t.Fatalf("%s:%s: %v", e.Name, o.Size(), err)
			}
			p := podOf(t, objects)
			a := j.Accelerator
			q := p.Containers[0].Resources.Limits[corev1.ResourceName(a.Resource())]
			if q.Value()*int64(a.Hosts) != int64(a.Chips) || !p.Containers[0].Resources.Requests[corev1.ResourceName(a.Resource())].Equal(q) {
				t.Errorf("%s: %s on each of %d hosts", a, q.String(), a.Hosts)
			}
			if p.NodeSelector[gpuLabel]+p.NodeSelector[tpuLabel] != a.Label || p.NodeSelector[topologyLabel] != a.Topology {
				t.Errorf("%s: %v", a, p.NodeSelector)
			}
			if (p.Subdomain != "") != (a.Hosts > 1) || (len(objects) > 1) != (a.Hosts > 1) {
				t.Errorf("%s: %d objects, subdomain %q", a, len(objects), p.Subdomain)
			}
		}
	}
}
