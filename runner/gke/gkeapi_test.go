package gke

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"k8s.io/client-go/rest"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// plugin writes a program for credentials that gives a token.
func plugin(t *testing.T, name string) *clientcmdapi.ExecConfig {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	script := `#!/bin/sh
echo '{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1","status":{"token":"google-token"}}'
`
	if err := os.WriteFile(file, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	return &clientcmdapi.ExecConfig{Command: file, APIVersion: "client.authentication.k8s.io/v1", InteractiveMode: clientcmdapi.NeverExecInteractiveMode, ProvideClusterInfo: true}
}

// visits are the requests that a server got.
type visits struct {
	mu   sync.Mutex
	list []string // path and credentials
}

func (v *visits) note(r *http.Request) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.list = append(v.list, r.URL.Path+" "+r.Header.Get("Authorization"))
}

// TestAskGoogle: GKE's API is asked with the plug-in's token, which nobody else gets.
func TestAskGoogle(t *testing.T) {
	var elsewhere, google visits
	other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { elsewhere.note(r) }))
	defer other.Close()
	name := gkeName{"my-project", "us-central1", "tpus"}
	for _, c := range []struct {
		name   string
		plugin string
		gke    gkeName
		code   int
		body   string
		want   string // in the error; empty for none
		asked  int
	}{
		{"pools", googlePlugin, name, 200, googlePools, "", 1},
		{"forbidden", googlePlugin, name, 403, `{"error": {"message": "Required \"container.clusters.get\" permission"}}`, "403 Required", 1},
		{"no JSON", googlePlugin, name, 200, "<html>", "GKE's API", 1},
		{"sent on", googlePlugin, name, 302, "", "302", 1},
		{"another plug-in", "aws", name, 200, googlePools, "not one of gcloud's", 0},
		{"another cluster", googlePlugin, gkeName{}, 200, googlePools, "not one of gcloud's", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			google = visits{}
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				google.note(r)
				w.Header().Set("Location", other.URL+"/steal")
				w.WriteHeader(c.code)
				_, _ = w.Write([]byte(c.body)) // the client that went away sees it
			}))
			defer server.Close()
			cluster := &Cluster{Server: other.URL, name: c.gke, googleAPI: server.URL, config: &rest.Config{Host: other.URL, ExecProvider: plugin(t, c.plugin)}}
			got, err := cluster.askGoogle(t.Context())
			if c.want == "" && (err != nil || len(got.Pools) != 3) || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("%+v, %v, want %q", got, err, c.want)
			}
			const asked = "/v1/projects/my-project/locations/us-central1/clusters/tpus Bearer google-token"
			if len(google.list) != c.asked || c.asked > 0 && google.list[0] != asked {
				t.Errorf("requests: %q", google.list)
			}
			if len(elsewhere.list) > 0 {
				t.Errorf("another server was asked: %q", elsewhere.list)
			}
		})
	}
}

func TestReadGKEName(t *testing.T) {
	for text, want := range map[string]gkeName{
		"gke_my-project_us-central1-a_tpus":   {"my-project", "us-central1-a", "tpus"},
		"gke_example.com:proj_us-central1_c1": {"example.com:proj", "us-central1", "c1"},
		"gke_a_b":                             {}, "minikube": {}, "gke_a_b_c_d": {}, "gke___": {}, "": {}, "eks_a_b_c": {},
	} {
		if got, ok := readGKEName(text); got != want || ok != (want != gkeName{}) {
			t.Errorf("%q: %+v, %v", text, got, ok)
		}
	}
}

// TestKnow: a renamed context is known by its cluster's entry.
func TestKnow(t *testing.T) {
	c := &Cluster{}
	c.know(clientcmdapi.Config{CurrentContext: "work", Contexts: map[string]*clientcmdapi.Context{"work": {Cluster: "gke_p_l_c"}}})
	if c.Context != "work" || c.name != (gkeName{"p", "l", "c"}) {
		t.Errorf("%+v", c)
	}
}

// FuzzReadGoogle: whatever comes instead of GKE's answer is an error or pools.
func FuzzReadGoogle(f *testing.F) {
	f.Add(200, googlePools)
	f.Add(403, `{"error": {"message": "no"}}`)
	f.Add(200, `{"nodePools": [{"config": {"accelerators": [{"acceleratorCount": 4}]}}]}`)
	f.Fuzz(func(t *testing.T, code int, text string) {
		g, err := readGoogle(code, strings.NewReader(text))
		if (g == nil) == (err == nil) {
			t.Fatalf("%v, %v", g, err)
		}
		if g != nil {
			s := survey{google: g}
			for _, p := range s.pools() {
				_, _ = p.String(), p.Ask()
			}
		}
	})
}
