package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ibuild/ibuild/runner/gke"
)

// fakeCluster answers what `ibuild status` asks, and writes a kubeconfig. Rights are
// refused for the verbs in no.
func fakeCluster(t *testing.T, no ...string) string {
	t.Helper()
	node := `{"metadata": {"name": "gke-c-l4-0123abcd-x", "labels": {"cloud.google.com/gke-nodepool": "l4", "cloud.google.com/gke-accelerator": "nvidia-l4",
		"node.kubernetes.io/instance-type": "g2-standard-4", "kubernetes.io/arch": "amd64"}},
		"status": {"allocatable": {"nvidia.com/gpu": "1"}, "conditions": [{"type": "Ready", "status": "True"}]}}`
	status := "autoscalerStatus: Running\nnodeGroups:\n- {name: gke-c-l4-0123abcd-grp, health: {maxSize: 4}}\n- {name: gke-c-h100-0123abcd-grp, health: {maxSize: 2}}\n"
	content, err := json.Marshal(status)
	if err != nil {
		t.Fatal(err)
	}
	paths := map[string]string{
		"/version":              `{"gitVersion": "v1.34.4"}`,
		"/api/v1/namespaces/ml": `{}`,
		"/api/v1/nodes":         `{"items": [` + node + `]}`,
		"/api/v1/pods":          `{"items": []}`,
		"/api/v1/namespaces/kube-system/configmaps/cluster-autoscaler-status": `{"data": {"status": ` + string(content) + `}}`,
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		body := paths[r.URL.Path]
		if r.Method == http.MethodPost {
			var review struct {
				Spec struct {
					Asked struct {
						Verb string `json:"verb"`
					} `json:"resourceAttributes"`
				} `json:"spec"`
			}
			_ = json.NewDecoder(r.Body).Decode(&review)
			allowed := "true"
			for _, verb := range no {
				if review.Spec.Asked.Verb == verb {
					allowed = "false"
				}
			}
			body = `{"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "status": {"allowed": ` + allowed + `}}`
		}
		if body == "" {
			w.WriteHeader(http.StatusNotFound)
			body = `{"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404, "message": "not found"}`
		}
		_, _ = w.Write([]byte(body)) // the client that went away sees it
	}))
	t.Cleanup(server.Close)
	file := filepath.Join(t.TempDir(), "kubeconfig")
	text := `{"apiVersion": "v1", "kind": "Config", "current-context": "test", "clusters": [{"name": "c", "cluster": {"server": "` + server.URL + `"}}],
		"contexts": [{"name": "test", "context": {"cluster": "c", "user": "u", "namespace": "ml"}}], "users": [{"name": "u", "user": {}}]}`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// TestStatus: what people see of a cluster, and the exit code when something is missing.
func TestStatus(t *testing.T) {
	config := fakeCluster(t)
	code, out, errs := ibuild(t, "", "status", "--kubeconfig", config)
	for _, want := range []string{"Kubernetes v1.34.4", "ok    namespace    ml", "ok    rights", "note  JobSet", "note  Kueue", "l4", "nvidia-l4", "g2-standard-4", "up to 4", "c-h100", "only its name can be seen"} {
		if code != 0 || !strings.Contains(out, want) {
			t.Errorf("exit code %d, nothing says %q:\n%s%s", code, want, out, errs)
		}
	}
	code, out, _ = ibuild(t, "", "status", "--kubeconfig", config, "--namespace", "other")
	if code != 1 || !strings.Contains(out, "FAIL  namespace    other does not exist") {
		t.Errorf("exit code %d\n%s", code, out)
	}
	code, out, _ = ibuild(t, "", "status", "--kubeconfig", fakeCluster(t, "delete"))
	if code != 1 || !strings.Contains(out, "you may not delete jobs.batch") {
		t.Errorf("exit code %d\n%s", code, out)
	}
	code, out, _ = ibuild(t, "", "status", "--kubeconfig", config, "--format", "json")
	var about struct {
		Pools []struct{ Name string } `json:"pools"`
	}
	if err := json.NewDecoder(bytes.NewReader([]byte(out))).Decode(&about); err != nil || code != 0 || len(about.Pools) != 2 {
		t.Errorf("exit code %d, %v, %+v\n%s", code, err, about, out)
	}
	code, _, errs = ibuild(t, "", "status", "--kubeconfig", filepath.Join(t.TempDir(), "none"))
	if code == 0 || !strings.Contains(errs, "kubeconfig") {
		t.Errorf("exit code %d\n%s", code, errs)
	}
}

// TestAcceleratorsLive: pools with the names by which jobs ask for them.
func TestAcceleratorsLive(t *testing.T) {
	config := fakeCluster(t)
	code, out, errs := ibuild(t, "", "accelerators", "--live", "--kubeconfig", config)
	if code != 0 || !strings.Contains(out, "l4:1") || !strings.Contains(out, "?") {
		t.Errorf("exit code %d\n%s%s", code, out, errs)
	}
	if code, _, errs := ibuild(t, "", "accelerators", "--live", "--kubeconfig", config, "l4"); code != 2 || !strings.Contains(errs, "--live takes no NAME") {
		t.Errorf("exit code %d\n%s", code, errs)
	}
}

// TestExplainCheck: all that stands against a job is said, with each remedy, and the gravest makes the exit code.
func TestExplainCheck(t *testing.T) {
	rights := &gke.Error{Refusal: gke.NoRights, Doing: "create jobs.batch", Err: errors.New("no"), Hint: "ask for the role edit"}
	place := &gke.PlaceError{Wants: "8 GPUs", There: []string{"l4 (1 node)"}}
	code, msg, hint := explain(&gke.CheckError{Errs: []error{rights, place}})
	if code != exitAuth || !strings.Contains(msg, "create jobs.batch") || !strings.Contains(msg, "8 GPUs") || !strings.Contains(hint, "role edit") || !strings.Contains(hint, "l4 (1 node)") {
		t.Errorf("%d %q %q", code, msg, hint)
	}
	if code, _, hint := explain(place); code != exitUsage || !strings.Contains(hint, "l4 (1 node)") {
		t.Errorf("%d %q", code, hint)
	}
}
