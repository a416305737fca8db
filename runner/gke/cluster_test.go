package gke

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const twoContexts = `apiVersion: v1
kind: Config
current-context: gke_p_l_tpus
clusters: [{name: gke_p_l_tpus, cluster: {server: "https://127.0.0.1:1"}}]
users: [{name: me, user: {}}]
contexts:
- {name: gke_p_l_tpus, context: {cluster: gke_p_l_tpus, user: me, namespace: ml}}
- {name: work, context: {cluster: gke_p_l_tpus, user: me}}
`

func TestOpen(t *testing.T) {
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	t.Setenv("HOME", t.TempDir())
	for _, c := range []struct {
		name, config string
		access       Access
		context      string
		namespace    string
		says         []string // in the error and its hint
	}{
		{"the current context", twoContexts, Access{}, "gke_p_l_tpus", "ml", nil},
		{"another", twoContexts, Access{Context: "work"}, "work", "default", nil},
		{"another namespace", twoContexts, Access{Namespace: "x"}, "gke_p_l_tpus", "x", nil},
		{"no such context", twoContexts, Access{Context: "worl"}, "", "", []string{`it has no context "worl"`, "did you mean work?"}},
		{"nothing like it", twoContexts, Access{Context: "production"}, "", "", []string{"it has gke_p_l_tpus, work"}},
		{"an empty file", "", Access{}, "", "", []string{"there is none", "get-credentials"}},
		{"no YAML", "a: [", Access{}, "", "", []string{"cannot read the kubeconfig"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.access.Kubeconfig = filepath.Join(t.TempDir(), "config")
			if err := os.WriteFile(c.access.Kubeconfig, []byte(c.config), 0o600); err != nil {
				t.Fatal(err)
			}
			got, err := Open(c.access)
			if (err != nil) != (c.says != nil) {
				t.Fatalf("%v", err)
			}
			if err == nil && (got.Context != c.context || got.Namespace != c.namespace || got.name != (gkeName{"p", "l", "tpus"})) {
				t.Errorf("%+v", got)
			}
			var e *Error
			for _, want := range c.says {
				if !errors.As(err, &e) || !strings.Contains(e.Error()+"\n"+e.Hint, want) {
					t.Errorf("nothing says %q: %v, %+v", want, err, e)
				}
			}
		})
	}
}
