//go:build linux

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"
)

// metadataTime is how long Google's metadata server may take. It is on the node, and slow in a pod's first seconds.
const metadataTime = 20 * time.Second

// maxToken bounds its answer, in bytes.
const maxToken = 64 << 10

// workloadToken is a token of the pod's service account, as Google's metadata server gives it to all that run in the
// pod (https://cloud.google.com/kubernetes-engine/docs/concepts/workload-identity). It is good for all of Google Cloud,
// so no other registry gets it. GCE_METADATA_HOST is the name that Google's own libraries have for another server.
func workloadToken(ctx context.Context, registryHost string) (string, error) {
	if !isGoogle(registryHost) {
		return "", fmt.Errorf("the pod's identity is for registries of Google (*.pkg.dev, gcr.io), and not for %s: take --results-auth=config", registryHost)
	}
	host := os.Getenv("GCE_METADATA_HOST")
	if host == "" {
		host = "metadata.google.internal"
	}
	ctx, cancel := context.WithTimeout(ctx, metadataTime)
	defer cancel()
	token, err := askMetadata(ctx, "http://"+host+"/computeMetadata/v1/instance/service-accounts/default/token")
	if err != nil {
		return "", fmt.Errorf("the pod's identity cannot be used: %w; the cluster needs Workload Identity, and the job a service account that may write to %s", err, registryHost)
	}
	return token, nil
}

func isGoogle(host string) bool {
	return host == "gcr.io" || strings.HasSuffix(host, ".gcr.io") || strings.HasSuffix(host, ".pkg.dev")
}

func askMetadata(ctx context.Context, url string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	req.Header.Set("Metadata-Flavor", "Google")
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, // and no proxy: the server is on the node
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("the metadata server answered %s", resp.Status)
	}
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxToken))
	if err != nil {
		return "", err
	}
	var token struct {
		AccessToken string `json:"access_token"`
	}
	if err := json.Unmarshal(data, &token); err != nil || token.AccessToken == "" {
		return "", fmt.Errorf("the metadata server gave no token") // and its answer is nobody's to see
	}
	return token.AccessToken, nil
}
