package launch

import (
	"errors"
	"fmt"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	ggcr "github.com/google/go-containerregistry/pkg/registry"
	"github.com/ibuild/ibuild/registry"
	"github.com/ibuild/ibuild/runner/bootstrap/contract"
	"github.com/ibuild/ibuild/runner/bootstrap/results"
	"github.com/opencontainers/go-digest"
)

// resultsAt pushes the results of hosts, each with one file that says who made it, and returns where they are.
func resultsAt(t *testing.T, hosts ...HostResult) (client *registry.Client, at string, digests []digest.Digest) {
	t.Helper()
	server := httptest.NewServer(ggcr.New(ggcr.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(server.Close)
	client = registry.New(registry.Options{Keychain: registry.StaticKeychain(nil)})
	at = strings.TrimPrefix(server.URL, "http://") + "/me/train:run-7"
	for _, h := range hosts {
		from := t.TempDir()
		if err := os.WriteFile(from+"/who", fmt.Appendf(nil, "%d/%d", h.Slice, h.Index), 0o644); err != nil {
			t.Fatal(err)
		}
		s, err := results.Push(t.Context(), client, from, contract.Tag(at, h.Slice, h.Index), nil)
		if err != nil {
			t.Fatal(err)
		}
		digests = append(digests, s.Digest)
	}
	return client, at, digests
}

func TestFetchResults(t *testing.T) {
	for name, c := range map[string]struct {
		pushed, asked []HostResult
		want          map[string]string // file: who made it
	}{
		"one host":         {[]HostResult{{}}, []HostResult{{}}, map[string]string{"who": "0/0"}},
		"three hosts":      {[]HostResult{{Index: 0}, {Index: 1}, {Index: 2}}, []HostResult{{Index: 0}, {Index: 1}, {Index: 2}}, map[string]string{"host-0/who": "0/0", "host-1/who": "0/1", "host-2/who": "0/2"}},
		"one left nothing": {[]HostResult{{Index: 1}}, []HostResult{{Index: 0}, {Index: 1}}, map[string]string{"host-1/who": "0/1"}},
		"two slices":       {[]HostResult{{Slice: 0}, {Slice: 1, Index: 1}}, []HostResult{{Slice: 0}, {Slice: 0, Index: 1}, {Slice: 1}, {Slice: 1, Index: 1}}, map[string]string{"slice-0-host-0/who": "0/0", "slice-1-host-1/who": "1/1"}},
	} {
		t.Run(name, func(t *testing.T) {
			client, at, _ := resultsAt(t, c.pushed...)
			to := t.TempDir() + "/out"
			got, err := FetchResults(t.Context(), client, at, c.asked, results.Target{Folder: to})
			if err != nil || len(got) != len(c.asked) {
				t.Fatalf("%+v, %v", got, err)
			}
			files := 0
			for _, f := range got {
				files += f.Summary.Files
			}
			if files != len(c.want) {
				t.Errorf("%d files, not %d", files, len(c.want))
			}
			for file, who := range c.want {
				if data, err := os.ReadFile(filepath.Join(to, file)); err != nil || string(data) != who {
					t.Errorf("%s: %q, %v", file, data, err)
				}
			}
		})
	}
}

func TestFetchResultsErrors(t *testing.T) {
	client, at, digests := resultsAt(t, HostResult{Index: 0}, HostResult{Index: 1})
	var none *NoResultsError
	if _, err := FetchResults(t.Context(), client, at+"0", []HostResult{{}}, results.Target{Folder: t.TempDir()}); !errors.As(err, &none) {
		t.Errorf("no results: %v", err)
	}
	// A host whose results were reported and are gone is an error; the other's come.
	to := t.TempDir()
	got, err := FetchResults(t.Context(), client, at, []HostResult{{Index: 0, Digest: digest.FromString("gone")}, {Index: 1, Digest: digests[1]}}, results.Target{Folder: to})
	if !errors.Is(err, registry.ErrNotFound) || got[1].Summary.Files != 1 {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := os.Stat(to + "/host-1/who"); err != nil {
		t.Error(err)
	}
	// Their folder is full.
	var full *results.NotEmptyError
	if _, err := FetchResults(t.Context(), client, at, []HostResult{{Index: 0}, {Index: 1}}, results.Target{Folder: to}); !errors.As(err, &full) || !strings.HasSuffix(full.Folder, "host-1") {
		t.Errorf("a full folder: %v", err)
	}
}
