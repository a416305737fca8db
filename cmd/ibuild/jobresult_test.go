package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	ggcr "github.com/google/go-containerregistry/pkg/registry"
	"github.com/ibuild/ibuild/registry"
	"github.com/ibuild/ibuild/runner/bootstrap/contract"
	"github.com/ibuild/ibuild/runner/bootstrap/results"
	"github.com/ibuild/ibuild/runner/gke"
	"github.com/ibuild/ibuild/runner/launch"
	"github.com/opencontainers/go-digest"
	"github.com/urfave/cli/v2"
)

// resultCluster answers as an API server does about one job of two hosts, whose pods are gone, and returns a
// kubeconfig for it. Without a place the job pushes no results.
func resultCluster(t *testing.T, at string) string {
	t.Helper()
	annotations := map[string]string{}
	if at != "" {
		annotations[gke.Domain+launch.ResultsFact] = at
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if r.URL.Path == "/apis/batch/v1/namespaces/default/jobs/train" || r.URL.Path == "/apis/batch/v1/namespaces/default/jobs" {
			job := map[string]any{"apiVersion": "batch/v1", "kind": "Job",
				"metadata": map[string]any{"name": "train", "namespace": "default", "uid": "1", "annotations": annotations,
					"labels": map[string]string{gke.ManagedByLabel: gke.ManagedBy, gke.JobLabel: "train"}},
				"spec":   map[string]any{"completions": 2, "parallelism": 2, "completionMode": "Indexed", "template": map[string]any{}},
				"status": map[string]any{"succeeded": 2, "conditions": []any{map[string]any{"type": "Complete", "status": "True"}}}}
			var answer any = job
			if strings.HasSuffix(r.URL.Path, "/jobs") {
				answer = map[string]any{"apiVersion": "batch/v1", "kind": "JobList", "metadata": map[string]any{}, "items": []any{job}}
			}
			_ = json.NewEncoder(w).Encode(answer)
			return
		}
		if name := r.URL.Path[strings.LastIndex(r.URL.Path, "/")+1:]; name == "pods" || name == "events" {
			_ = json.NewEncoder(w).Encode(map[string]any{"apiVersion": "v1", "kind": "List", "metadata": map[string]any{}, "items": []any{}})
			return
		}
		w.WriteHeader(http.StatusNotFound)
		_ = json.NewEncoder(w).Encode(map[string]any{"apiVersion": "v1", "kind": "Status", "status": "Failure", "reason": "NotFound", "code": 404, "message": "not found"})
	}))
	t.Cleanup(server.Close)
	file := filepath.Join(t.TempDir(), "kubeconfig")
	text := fmt.Sprintf("apiVersion: v1\nkind: Config\ncurrent-context: c\nclusters: [{name: c, cluster: {server: %q}}]\ncontexts: [{name: c, context: {cluster: c}}]\n", server.URL)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// jobResult runs the command.
func jobResult(t *testing.T, args ...string) (out string, err error) {
	t.Helper()
	t.Setenv("IBUILD_CACHE", t.TempDir())
	var buf bytes.Buffer
	app := &cli.App{Name: "ibuild", Commands: []*cli.Command{jobResultCommand()}, Writer: &buf, ErrWriter: io.Discard, ExitErrHandler: func(*cli.Context, error) {}}
	complete(app.Name, app.Commands)
	err = app.RunContext(t.Context(), append([]string{"ibuild", "result"}, args...))
	return buf.String(), err
}

func TestJobResult(t *testing.T) {
	server := httptest.NewServer(ggcr.New(ggcr.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(server.Close)
	at := strings.TrimPrefix(server.URL, "http://") + "/me/train:run-1"
	from := t.TempDir()
	if err := errors.Join(os.WriteFile(from+"/model", []byte("weights"), 0o644), os.Symlink("/etc/passwd", from+"/out\x1b[31mside")); err != nil {
		t.Fatal(err)
	}
	client := registry.New(registry.Options{Keychain: registry.StaticKeychain(nil)})
	pushed, err := results.Push(t.Context(), client, from, contract.Tag(at, 0, 1), nil)
	if err != nil {
		t.Fatal(err)
	}
	kubeconfig := resultCluster(t, at)
	to := filepath.Join(t.TempDir(), "out")
	out, err := jobResult(t, "--kubeconfig", kubeconfig, "train", to)
	if err != nil {
		t.Fatal(err)
	}
	want := "host 0 has left no results\n" + to + "/host-1 (files: 1, size: 7B)\n  not there: \"out\\x1b[31mside\": a link to \"/etc/passwd\", which is not relative\n"
	if diff := cmp.Diff(want, out); diff != "" {
		t.Error(diff)
	}
	if data, err := os.ReadFile(to + "/host-1/model"); err != nil || string(data) != "weights" {
		t.Errorf("%q, %v", data, err)
	}
	if _, err := jobResult(t, "--kubeconfig", kubeconfig, "train", to); !isUsage(err, "is not empty", "--overwrite") {
		t.Errorf("a second time: %v", err)
	}
	if _, err := jobResult(t, "--kubeconfig", kubeconfig, "--max-size", "3", "train", to+"2"); !isUsage(err, "more than the limit of 3", "--max-size") {
		t.Errorf("too large: %v", err)
	}
	out, err = jobResult(t, "--kubeconfig", kubeconfig, "--overwrite", "--format", "json", "train", to)
	var list []fetchedHost
	if err := errors.Join(err, json.Unmarshal([]byte(out), &list)); err != nil || len(list) != 2 || list[1].Digest != pushed.Digest || list[1].Missed != 1 || list[0].Folder != "" {
		t.Errorf("%s, %v", out, err)
	}
	if _, err := jobResult(t, "--kubeconfig", resultCluster(t, at+"0"), "train", to+"3"); !errors.As(err, new(*launch.NoResultsError)) || report(io.Discard, err) != exitBuild {
		t.Errorf("no results: %v", err)
	}
}

func TestJobResultErrors(t *testing.T) {
	kubeconfig := resultCluster(t, "")
	for line, want := range map[string][2]string{
		"":                                      {"the NAME of the job is missing", "jobs list"},
		"a b c":                                 {"3 arguments", "NAME [FOLDER]"},
		"train --overwrite":                     {"the flag --overwrite comes after train", "flags go first"},
		"--max-size lots train":                 {`--max-size cannot be "lots"`, "500MB"},
		"--format xml train":                    {"--format", "json"},
		"--kubeconfig " + kubeconfig + " train": {"pushes no results", "--results-auth none"},
	} {
		t.Run(line, func(t *testing.T) {
			if _, err := jobResult(t, strings.Fields(line)...); !isUsage(err, want[0], want[1]) {
				t.Errorf("%v, and not %q", err, want)
			}
		})
	}
}

func isUsage(err error, msg, hint string) bool {
	var use *usage
	return errors.As(err, &use) && strings.Contains(use.msg, msg) && strings.Contains(use.hint, hint)
}

// TestResultHosts: a digest is believed of hosts that have ended.
func TestResultHosts(t *testing.T) {
	d := digest.FromString("x")
	got := resultHosts(gke.State{Hosts: []gke.Host{
		{Slice: 0, Index: 0, Phase: gke.Succeeded, Result: d.String()}, {Slice: 0, Index: 1, Phase: gke.Running, Result: d.String()},
		{Slice: 1, Index: 0, Phase: gke.Failed, Result: "sha256:short"}, {Slice: 1, Index: 1, Phase: gke.Pending},
	}})
	want := []launch.HostResult{{Digest: d}, {Index: 1}, {Slice: 1}, {Slice: 1, Index: 1}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if got := resultHosts(gke.State{}); len(got) != 1 {
		t.Errorf("%v", got)
	}
}
