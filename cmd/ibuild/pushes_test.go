package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/ibuild/ibuild/engine"
	"github.com/ibuild/ibuild/registry"
	"github.com/ibuild/ibuild/settings"
)

// TestPushSettings: a section of the file changes what is known of a host, and leaves alone what it does not name.
func TestPushSettings(t *testing.T) {
	file := filepath.Join(t.TempDir(), "config.toml")
	text := `[push."registry.example.com"]
parallel = 4
chunk = "100MB"
resume = false
mount = false
compression = "gzip"
stall = "90s"
answer = "10m"
[push."ghcr.io"]
compression = "zstd"
resume = true
`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := settings.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	told, plain := registry.New(registry.Options{Profiles: pushProfiles(cfg.Push)}), registry.New(registry.Options{})
	want := registry.Profile{Parallel: 4, Chunk: 100e6, Compression: "gzip", Stall: 90 * time.Second, Answer: 10 * time.Minute}
	if d := cmp.Diff(want, told.Profile("registry.example.com")); d != "" {
		t.Error(d)
	}
	want = plain.Profile("ghcr.io")
	if want.Resume {
		t.Fatal("resuming at ghcr.io changes nothing")
	}
	want.Resume = true
	if d := cmp.Diff(want, told.Profile("ghcr.io")); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(plain.Profile("quay.io"), told.Profile("quay.io")); d != "" {
		t.Error(d)
	}
}

// TestUsualCompression: a flag wins over the settings, and the settings' zstd is no order for who cannot have it.
func TestUsualCompression(t *testing.T) {
	for _, c := range []struct {
		cfg  settings.Build
		args []string
		want engine.Compression
	}{
		{settings.Build{}, nil, engine.Compression{}},
		{settings.Build{Compression: "zstd", CompressionLevel: 3}, nil, engine.Compression{Level: 3}},
		{settings.Build{Compression: "gzip", CompressionLevel: 9}, nil, engine.Compression{Name: "gzip", Level: 9}},
		{settings.Build{Compression: "gzip", CompressionLevel: 9}, []string{"--compression", "zstd"}, engine.Compression{Name: "zstd"}},
		{settings.Build{Compression: "uncompressed"}, []string{"--compression", "gzip", "--compression-level", "2"}, engine.Compression{Name: "gzip", Level: 2}},
	} {
		out := engine.Outputs{Compression: usualCompression(c.cfg)}
		if err := readCompression(flags(t, buildFlags(), c.args...), &out); err != nil || out.Compression != c.want {
			t.Errorf("%+v %v: %+v, %v", c.cfg, c.args, out.Compression, err)
		}
	}
}

// TestLook: what is written over is for terminals that people look at.
func TestLook(t *testing.T) {
	for _, c := range []struct {
		mode     string
		terminal bool
		kernel   string
		want     engine.Look
	}{
		{"auto", true, "", engine.LookTerminal},
		{"auto", true, "4711", engine.LookLines},
		{"tty", true, "4711", engine.LookTerminal},
		{"auto", false, "", engine.LookLines},
		{"plain", true, "", engine.LookLines},
		{"quiet", true, "", engine.LookLines},
		{"rawjson", true, "4711", engine.LookNumbers},
	} {
		mode := settled(c.mode, func(name string) string {
			if name == "JPY_PARENT_PID" {
				return c.kernel
			}
			return ""
		})
		if got := look(mode, c.terminal); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
}

func TestNetworkJSON(t *testing.T) {
	moved := registry.Transferred{Sent: 3, Fetched: 2, Moved: registry.Tally{Blobs: 1, Bytes: 3}, There: registry.Tally{Blobs: 4, Bytes: 40}}
	data, err := json.Marshal(newNetwork(moved))
	want := `{"sentBytes":3,"fetchedBytes":2,"moved":{"blobs":1,"bytes":3},"there":{"blobs":4,"bytes":40},"mounted":{"blobs":0,"bytes":0}}`
	if err != nil || string(data) != want {
		t.Errorf("%s, %v", data, err)
	}
}
