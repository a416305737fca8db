//go:build linux

package main

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func TestWorkloadToken(t *testing.T) {
	answer, status := `{"access_token":"canary","expires_in":3599,"token_type":"Bearer"}`, http.StatusOK
	var asked []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.Path+" "+r.Header.Get("Metadata-Flavor"))
		w.WriteHeader(status)
		fmt.Fprint(w, answer)
	}))
	defer server.Close()
	t.Setenv("GCE_METADATA_HOST", strings.TrimPrefix(server.URL, "http://"))
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1") // is not for this
	token, err := workloadToken(t.Context(), "europe-docker.pkg.dev")
	if err != nil || token != "canary" {
		t.Fatalf("%q, %v", token, err)
	}
	if want := "/computeMetadata/v1/instance/service-accounts/default/token Google"; len(asked) != 1 || asked[0] != want {
		t.Errorf("%q", asked)
	}
	for _, host := range []string{"ghcr.io", "pkg.dev.example.com", "evil-gcr.io", "localhost:5000", "xpkg.dev"} {
		if _, err := workloadToken(t.Context(), host); err == nil || len(asked) != 1 {
			t.Errorf("%s: %v, %q", host, err, asked)
		}
	}
	for _, bad := range []string{"", "{}", "canary", `{"access_token":""}`, strings.Repeat(" ", maxToken) + `{"access_token":"x"}`} {
		answer = bad
		if _, err := workloadToken(t.Context(), "gcr.io"); err == nil || strings.Contains(err.Error(), "canary") {
			t.Errorf("%.30q: %v", bad, err)
		}
	}
	status = http.StatusNotFound
	if _, err := workloadToken(t.Context(), "gcr.io"); err == nil || !strings.Contains(err.Error(), "404") || !strings.Contains(err.Error(), "Workload Identity") {
		t.Error(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	silent := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	defer silent.Close()
	t.Setenv("GCE_METADATA_HOST", strings.TrimPrefix(silent.URL, "http://"))
	if _, err := workloadToken(ctx, "gcr.io"); err == nil {
		t.Error("a server that says nothing gave a token")
	}
}
