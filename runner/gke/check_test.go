package gke

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
)

// answers is an API server that answers what it was told to: a path with an object,
// a code for a path, and which rights there are not.
type answers struct {
	objects  map[string]any
	codes    map[string]int
	no       []string // rights, as right.String writes them
	mu       sync.Mutex
	now      int // requests at this moment
	together int // most requests at a time
	slow     time.Duration
}

func (a *answers) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	a.now++
	a.together = max(a.together, a.now)
	a.mu.Unlock()
	defer func() {
		a.mu.Lock()
		a.now--
		a.mu.Unlock()
	}()
	time.Sleep(a.slow)
	w.Header().Set("Warning", `299 - "this version will go"`)
	if r.Method == http.MethodPost {
		a.review(w, r)
		return
	}
	if code := a.codes[r.URL.Path]; code != 0 {
		reason := map[int]metav1.StatusReason{403: metav1.StatusReasonForbidden, 503: metav1.StatusReasonServiceUnavailable, 401: metav1.StatusReasonUnauthorized}[code]
		status(w, code, reason, r.URL.Path+" is not for you")
		return
	}
	object := a.objects[r.URL.Path]
	if object == nil {
		status(w, http.StatusNotFound, metav1.StatusReasonNotFound, r.URL.Path+" not found")
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(object)
}

func (a *answers) review(w http.ResponseWriter, r *http.Request) {
	var review authorizationv1.SelfSubjectAccessReview
	if err := json.NewDecoder(r.Body).Decode(&review); err != nil {
		status(w, http.StatusBadRequest, metav1.StatusReasonBadRequest, err.Error())
		return
	}
	asked := review.Spec.ResourceAttributes
	text := right{asked.Verb, jobs, asked.Subresource}
	text.in.Group, text.in.Resource = asked.Group, asked.Resource
	review.Status.Allowed = !slices.Contains(a.no, text.String())
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(review)
}

// whole is a cluster in which jobs run.
func whole() *answers {
	return &answers{codes: map[string]int{}, objects: map[string]any{
		"/version":                                  map[string]any{"gitVersion": "v1.34.4"},
		"/api/v1/namespaces/ml":                     corev1.Namespace{},
		"/api/v1/nodes":                             corev1.NodeList{Items: testNodes()},
		"/api/v1/pods":                              corev1.PodList{},
		"/api/v1/namespaces/ml/resourcequotas":      corev1.ResourceQuotaList{},
		"/api/v1/namespaces/ml/secrets/hf":          corev1.Secret{},
		"/apis/kueue.x-k8s.io":                      metav1.APIGroup{PreferredVersion: metav1.GroupVersionForDiscovery{Version: "v1beta2"}},
		"/api/v1/namespaces/ml/serviceaccounts/gcs": corev1.ServiceAccount{},
		"/apis/kueue.x-k8s.io/v1beta2/namespaces/ml/localqueues": map[string]any{"items": []any{
			map[string]any{"metadata": map[string]any{"name": "tpus"}, "spec": map[string]any{"clusterQueue": "all"}, "status": map[string]any{"pendingWorkloads": 3}},
			map[string]any{"metadata": map[string]any{"name": "stopped"}, "spec": map[string]any{"clusterQueue": "all", "stopPolicy": "Hold"}}}},
	}}
}

// cluster is a handle on the server.
func (a *answers) cluster(t *testing.T) *Cluster {
	t.Helper()
	server := httptest.NewServer(a)
	t.Cleanup(server.Close)
	c := &Cluster{Server: server.URL, Namespace: "ml", warnings: &warnings{}}
	c.config = &rest.Config{Host: server.URL, QPS: -1, WarningHandler: c.warnings}
	var err error
	if c.dynamic, err = dynamic.NewForConfig(c.config); err != nil {
		t.Fatal(err)
	}
	return c
}

// TestCheck: what stands against a job, and what does not.
func TestCheck(t *testing.T) {
	claim := func(mode corev1.PersistentVolumeAccessMode, phase corev1.PersistentVolumeClaimPhase) corev1.PersistentVolumeClaim {
		return corev1.PersistentVolumeClaim{Spec: corev1.PersistentVolumeClaimSpec{AccessModes: []corev1.PersistentVolumeAccessMode{mode}}, Status: corev1.PersistentVolumeClaimStatus{Phase: phase}}
	}
	const claims = "/api/v1/namespaces/ml/persistentvolumeclaims/data"
	for _, c := range []struct {
		name    string
		cluster func(*answers)
		job     func(*Job)
		want    []string // in the errors and their hints
		notes   []string
		refusal Refusal // of the gravest
	}{
		{name: "all is well"},
		{name: "everything that is named is there", job: func(j *Job) {
			j.Secrets, j.ServiceAccount, j.Queue = []SecretMount{{Secret: "hf"}}, "gcs", "tpus"
		}},
		{name: "no namespace", cluster: func(a *answers) { delete(a.objects, "/api/v1/namespaces/ml") }, job: func(j *Job) { j.Secrets = []SecretMount{{Secret: "none"}} },
			want: []string{"cannot use the namespace ml: it does not exist", "kubectl create namespace ml"}, refusal: NotThere},
		{name: "the namespace goes", cluster: func(a *answers) {
			a.objects["/api/v1/namespaces/ml"] = corev1.Namespace{Status: corev1.NamespaceStatus{Phase: corev1.NamespaceTerminating}}
		}, want: []string{"it is being deleted"}, refusal: NotThere},
		{name: "the namespace may not be read", cluster: func(a *answers) { a.codes["/api/v1/namespaces/ml"] = 403 }},
		{name: "rights", cluster: func(a *answers) { a.no = []string{"create jobs.batch", "get pods/log"} },
			want: []string{"cannot create jobs.batch in the namespace ml", "cannot get pods/log", "kubectl create rolebinding"}, refusal: NoRights},
		{name: "rights that it does not need", cluster: func(a *answers) { a.no = []string{"create services", "create jobsets.jobset.x-k8s.io"} }},
		{name: "no credentials", cluster: func(a *answers) { a.no = []string{"create secrets"} }, notes: []string{"no credentials can go with the job"}},
		{name: "rights for a secret", cluster: func(a *answers) { a.no = []string{"update secrets"} }, job: func(j *Job) { j.SecretEnv = []Variable{{"A", "b"}} },
			want: []string{"cannot update secrets"}, refusal: NoRights},
		{name: "rights for a slice", cluster: func(a *answers) { a.no = []string{"create services"} }, job: func(j *Job) { j.Accelerator = mustResolve("v5e-16") },
			want: []string{"cannot create services"}, refusal: NoRights},
		{name: "several things are missing", job: func(j *Job) {
			j.Secrets, j.ServiceAccount, j.Queue = []SecretMount{{Secret: "none"}}, "nobody", "gpus"
		}, want: []string{"no Secret of that name", "kubectl create secret generic none", "no service account of that name", "no queue of that name", "there are tpus, stopped"}, refusal: NotThere},
		{name: "a stopped queue", job: func(j *Job) { j.Queue = "stopped" }, notes: []string{"the queue stopped takes no jobs now: its stop policy is Hold"}},
		{name: "no Kueue", cluster: func(a *answers) { delete(a.objects, "/apis/kueue.x-k8s.io") }, job: func(j *Job) { j.Queue = "tpus" }, want: []string{"there is no Kueue in the cluster"}, refusal: NotThere},
		{name: "no JobSet", job: func(j *Job) { j.Accelerator, j.Slices = mustResolve("v5e-16"), 2 }, want: []string{"JobSet is not installed", "each of 2 slices needs a pool"}, refusal: NotThere},
		{name: "a secret that may not be read", cluster: func(a *answers) { a.codes["/api/v1/namespaces/ml/secrets/hf"] = 403 }, job: func(j *Job) { j.Secrets = []SecretMount{{Secret: "hf"}} },
			notes: []string{"whether the Secret hf is there cannot be seen"}},
		{name: "no claim", job: func(j *Job) { j.Volumes = []Volume{{Path: "/data", Claim: "data"}} }, want: []string{"no claim of that name"}, refusal: NotThere},
		{name: "a lost claim", cluster: func(a *answers) { a.objects[claims] = claim(corev1.ReadWriteMany, corev1.ClaimLost) },
			job: func(j *Job) { j.Volumes = []Volume{{Path: "/data", Claim: "data"}} }, want: []string{"the volume that it stands for is gone"}, refusal: NotThere},
		{name: "a claim for one node", cluster: func(a *answers) { a.objects[claims] = claim(corev1.ReadWriteOnce, corev1.ClaimBound) },
			job: func(j *Job) {
				j.Accelerator, j.Volumes = mustResolve("v5e-16"), []Volume{{Path: "/data", Claim: "data"}}
			}, notes: []string{"the claim data can be mounted by one node, and the job has 4 hosts"}},
		{name: "a claim for many", cluster: func(a *answers) { a.objects[claims] = claim(corev1.ReadWriteMany, corev1.ClaimBound) },
			job: func(j *Job) {
				j.Accelerator, j.Volumes = mustResolve("v5e-16"), []Volume{{Path: "/data", Claim: "data"}}
			}},
		{name: "no pool and no right", cluster: func(a *answers) { a.no = []string{"watch pods"} }, job: func(j *Job) { j.Accelerator = mustResolve("h100x8") },
			want: []string{"cannot watch pods", "no node of the cluster can hold the job"}, refusal: NoRights},
		{name: "nodes may not be listed", cluster: func(a *answers) { a.codes["/api/v1/nodes"] = 403 }, job: func(j *Job) { j.Accelerator = mustResolve("h100x8") },
			notes: []string{"you may not list nodes"}},
		{name: "a quota", cluster: func(a *answers) {
			a.objects["/api/v1/namespaces/ml/resourcequotas"] = corev1.ResourceQuotaList{Items: []corev1.ResourceQuota{quotaOf("few", "count/jobs.batch", "2", "2")}}
		}, want: []string{"the quota few allows 2 of count/jobs.batch, of which 2 are in use", "ibuild jobs cleanup"}},
		{name: "who is that", cluster: func(a *answers) { a.codes["/api/v1/nodes"] = 401 }, want: []string{"log in again"}, refusal: NoAccount},
		{name: "a server that is not well", cluster: func(a *answers) { a.codes["/api/v1/namespaces/ml"] = 503 }, want: []string{"does not answer"}, refusal: NoAnswer},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := whole()
			if c.cluster != nil {
				c.cluster(a)
			}
			job := testJob(t, "l4")
			job.Namespace, job.Image = "ml", ""
			if c.job != nil {
				c.job(&job)
			}
			p, err := a.cluster(t).Check(t.Context(), job)
			if (err == nil) != (len(c.want) == 0) {
				t.Fatalf("%v, want %q", err, c.want)
			}
			said := allSaid(err)
			for _, want := range c.want {
				if !strings.Contains(said, want) {
					t.Errorf("nothing says %q in:\n%s", want, said)
				}
			}
			var e *Error
			if errors.As(err, &e) && e.Refusal != c.refusal {
				t.Errorf("the refusal is %d, want %d", e.Refusal, c.refusal)
			}
			for _, want := range c.notes {
				if !strings.Contains(strings.Join(p.Notes, "\n"), want) {
					t.Errorf("no note says %q: %q", want, p.Notes)
				}
			}
			if len(c.notes) == 0 && len(p.Notes) > 0 {
				t.Errorf("notes: %q", p.Notes)
			}
		})
	}
}

// allSaid is what people are told of an error.
func allSaid(err error) string {
	var several *CheckError
	var one *Error
	var place *PlaceError
	switch {
	case err == nil:
		return ""
	case errors.As(err, &several):
		return several.Error() + "\n" + several.Hint()
	case errors.As(err, &one):
		return one.Error() + "\n" + one.Hint
	case errors.As(err, &place):
		return place.Error() + "\n" + place.Hint()
	}
	return err.Error()
}

// TestCheckAtOnce: a check is as long as its slowest question, and not as their sum.
func TestCheckAtOnce(t *testing.T) {
	a := whole()
	a.slow = 100 * time.Millisecond
	c := a.cluster(t)
	job := testJob(t, "l4")
	job.Namespace = "ml"
	start := time.Now()
	if _, err := c.Check(t.Context(), job); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(start); a.together < 8 || took > 5*a.slow {
		t.Logf("it took %s", took)
		t.Errorf("at most %d questions at a time", a.together)
	}
	if got := c.Warnings(); len(got) != 1 || got[0] != "this version will go" {
		t.Errorf("warnings: %q", got)
	}
}

func TestUnreachable(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	server.Close()
	c := (&answers{}).cluster(t)
	c.Server, c.config.Host = server.URL, server.URL
	var err error
	if c.dynamic, err = dynamic.NewForConfig(c.config); err != nil {
		t.Fatal(err)
	}
	var e *Error
	if _, err := c.Check(t.Context(), testJob(t, "l4")); !errors.As(err, &e) || e.Refusal != NoAnswer || e.Hint == "" {
		t.Errorf("%v", err)
	}
	if _, err := c.About(t.Context()); !errors.As(err, &e) || e.Refusal != NoAnswer {
		t.Errorf("%v", err)
	}
}

func quotaOf(name string, resourceName corev1.ResourceName, hard, used string) corev1.ResourceQuota {
	return corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:   corev1.ResourceQuotaSpec{Hard: corev1.ResourceList{resourceName: resource.MustParse(hard)}},
		Status: corev1.ResourceQuotaStatus{Used: corev1.ResourceList{resourceName: resource.MustParse(used)}}}
}

// TestOverQuota: what can never be, what waits, and what fits.
func TestOverQuota(t *testing.T) {
	secret := func(j *Job) { j.SecretEnv = []Variable{{"A", "b"}} }
	for _, c := range []struct {
		accelerator   string
		change        func(*Job)
		name          corev1.ResourceName
		hard, used    string
		refused, wait bool
	}{
		{"cpu", nil, "count/jobs.batch", "5", "4", false, false},
		{"cpu", nil, "count/jobs.batch", "5", "5", true, false},
		{"cpu", nil, "pods", "5", "5", false, true},
		{"cpu", nil, "count/pods", "0", "0", true, false},
		{"v5e-16", nil, "pods", "3", "0", true, false},
		{"v5e-16", nil, "requests.google.com/tpu", "16", "0", false, false},
		{"v5e-16", nil, "requests.google.com/tpu", "16", "4", false, true},
		{"v5e-16", nil, "requests.google.com/tpu", "12", "0", true, false},
		{"v5e-16", nil, "requests.nvidia.com/gpu", "0", "0", false, false},
		{"a100x4", nil, "requests.nvidia.com/gpu", "3", "0", true, false},
		{"cpu", secret, "secrets", "1", "1", true, false},
		{"cpu", nil, "secrets", "1", "1", false, false},
		{"v5e-16", nil, "services", "1", "1", true, false},
		{"cpu", func(j *Job) { j.Memory = "4Gi" }, "limits.memory", "2Gi", "0", true, false},
		{"cpu", func(j *Job) { j.CPU = "1500m" }, "cpu", "2", "1", false, true},
	} {
		job := testJob(t, c.accelerator)
		if c.change != nil {
			c.change(&job)
		}
		quota := quotaOf("team", c.name, c.hard, c.used)
		refused, notes := overQuota([]corev1.ResourceQuota{quota}, takes(job))
		if (len(refused) > 0) != c.refused || (len(notes) > 0) != c.wait {
			t.Errorf("%s, %s of %s %s: refused %q, waits %q", c.accelerator, c.used, c.hard, c.name, refused, notes)
		}
		quota.Spec.Scopes = []corev1.ResourceQuotaScope{corev1.ResourceQuotaScopeBestEffort}
		if refused, notes := overQuota([]corev1.ResourceQuota{quota}, takes(job)); len(refused)+len(notes) > 0 {
			t.Errorf("a quota for some pods only counts: %q %q", refused, notes)
		}
	}
}

// TestAbout: what a cluster says of itself, and what is missing.
func TestAbout(t *testing.T) {
	a := whole()
	a.no = []string{"delete jobs.batch"}
	got, err := a.cluster(t).About(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got.Version != "v1.34.4" || !got.There || got.JobSet || got.Kueue != "v1beta2" || len(got.Pools) != 8 || !slices.Equal(got.Forbidden, a.no) {
		t.Errorf("%+v", got)
	}
	want := []Queue{{Name: "stopped", Cluster: "all", Stopped: "its stop policy is Hold"}, {Name: "tpus", Cluster: "all", Pending: 3}}
	if !slices.Equal(got.Queues, want) {
		t.Errorf("queues: %+v", got.Queues)
	}
	delete(a.objects, "/api/v1/namespaces/ml")
	a.codes["/api/v1/nodes"] = 403
	got, err = a.cluster(t).About(t.Context())
	if err != nil || got.There || len(got.Pools) > 0 || !slices.Contains(got.Notes, "you may not list nodes") {
		t.Errorf("%+v, %v", got, err)
	}
}
