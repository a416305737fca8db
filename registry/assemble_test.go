package registry

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

// dockerParts returns an image in docker's format, with fields in its config that
// ibuild does not know.
func dockerParts(t *testing.T, layerType types.MediaType) ImageParts {
	t.Helper()
	img := mutate.MediaType(mutate.ConfigMediaType(testImage(t, amd64), types.DockerConfigJSON), types.DockerManifestSchema2)
	var manifest map[string]any
	if err := json.Unmarshal(rawManifestOf(t, img), &manifest); err != nil {
		t.Fatal(err)
	}
	config, err := img.RawConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	var c map[string]any
	if err := json.Unmarshal(config, &c); err != nil {
		t.Fatal(err)
	}
	run := c["config"].(map[string]any)
	run["Healthcheck"] = map[string]any{"Test": []string{"CMD", "true"}, "Interval": json.Number("30000000001")}
	run["OnBuild"] = []string{"RUN <x> && y"}
	run["ArgsEscaped"] = true
	run["Unheard"] = map[string]any{"of": json.Number("12345678901234567890")}
	run["Cmd"] = nil
	c["moby.buildkit.buildinfo.v1"] = "x"
	c["variant"] = "v1"
	if config, err = json.Marshal(c); err != nil {
		t.Fatal(err)
	}
	manifest["config"].(map[string]any)["digest"] = digest.FromBytes(config)
	manifest["config"].(map[string]any)["size"] = len(config)
	manifest["subject"] = map[string]any{"digest": digest.FromString("x"), "size": 1}
	manifest["annotations"] = map[string]any{"kept": "yes"}
	for _, l := range manifest["layers"].([]any) {
		l.(map[string]any)["mediaType"] = layerType
		l.(map[string]any)["annotations"] = map[string]any{"also": "kept"}
		l.(map[string]any)["unheard"] = "of"
	}
	data, err := json.Marshal(manifest)
	if err != nil {
		t.Fatal(err)
	}
	return ImageParts{Manifest: data, Config: config}
}

func TestAssembleKeepsTheRest(t *testing.T) {
	base := dockerParts(t, types.DockerLayer)
	layer, _, err := buildLayer(t, LayerOptions{CreatedBy: "code"}, file("app/main.py", "x"))
	if err != nil {
		t.Fatal(err)
	}
	edit := func(c *Config) error {
		c.Config.Env = append(c.Config.Env, "A=<b>")
		c.Config.WorkingDir = "/app"
		c.Config.Healthcheck.Retries = 3
		return nil
	}
	img, err := Assemble(base, []Layer{layer}, AssembleOptions{Edit: edit})
	if err != nil {
		t.Fatal(err)
	}
	again, err := Assemble(base, []Layer{layer}, AssembleOptions{Edit: edit})
	if err != nil || again.Manifest.Digest != img.Manifest.Digest {
		t.Errorf("not the same bytes: %v", err)
	}
	config, manifest := string(img.Config.Bytes), string(img.Manifest.Bytes)
	for _, want := range []string{
		`"Unheard":{"of":12345678901234567890}`, `"moby.buildkit.buildinfo.v1":"x"`, `"ArgsEscaped":true`,
		`"Cmd":null`, `"Interval":30000000001`, `"Retries":3`, `"Env":["PATH=/bin","A=<b>"]`, `"WorkingDir":"/app"`,
		`{"created_by":"code","comment":"ibuild"}`, `"variant":"v1"`,
	} {
		if !strings.Contains(config, want) {
			t.Errorf("%s is not in the config:\n%s", want, config)
		}
	}
	for _, want := range []string{`"annotations":{"kept":"yes"}`, `"annotations":{"also":"kept"}`, `"unheard":"of"`, ocispecs.MediaTypeImageManifest, ocispecs.MediaTypeImageConfig} {
		if !strings.Contains(manifest, want) {
			t.Errorf("%s is not in the manifest:\n%s", want, manifest)
		}
	}
	if strings.Contains(manifest, "docker") || strings.Contains(manifest, "subject") {
		t.Errorf("manifest:\n%s", manifest)
	}
	if p := img.Manifest.Platform; p == nil || p.Architecture != "amd64" {
		t.Errorf("platform %v", p)
	}
	var before, after struct {
		RootFS  v1.RootFS `json:"rootfs"`
		History []any     `json:"history"`
	}
	if err := errors.Join(json.Unmarshal(base.Config, &before), json.Unmarshal(img.Config.Bytes, &after)); err != nil {
		t.Fatal(err)
	}
	if len(after.RootFS.DiffIDs) != 3 || after.RootFS.DiffIDs[2].String() != layer.DiffID.String() || len(after.History) != len(before.History)+1 {
		t.Errorf("got %+v", after)
	}
}

// TestAssembleWithoutChange: no layers, no edit: the same config, as JSON.
func TestAssembleWithoutChange(t *testing.T) {
	base := dockerParts(t, types.DockerLayer)
	img, err := Assemble(base, nil, AssembleOptions{Edit: func(*Config) error { return nil }})
	if err != nil {
		t.Fatal(err)
	}
	if a, b := canonical(t, base.Config), canonical(t, img.Config.Bytes); a != b {
		t.Errorf("before: %s\nafter:  %s", a, b)
	}
}

func canonical(t *testing.T, data []byte) string {
	t.Helper()
	var v any
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	if err := dec.Decode(&v); err != nil {
		t.Fatal(err)
	}
	out, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// TestAssembleUnknownLayer: a layer type that OCI has no name for keeps the
// image in docker's format, as a whole.
func TestAssembleUnknownLayer(t *testing.T) {
	base := dockerParts(t, "application/vnd.example.layer")
	layer, _, err := buildLayer(t, LayerOptions{}, file("a", "x"))
	if err != nil {
		t.Fatal(err)
	}
	img, err := Assemble(base, []Layer{layer}, AssembleOptions{Created: time.Unix(1, 0)})
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(img.Manifest.Bytes), "vnd.oci") || img.Manifest.MediaType != dockerManifest || img.Config.MediaType != dockerConfig {
		t.Errorf("got %s", img.Manifest.Bytes)
	}
	if !strings.Contains(string(img.Config.Bytes), `"created":"1970-01-01T00:00:01Z"`) {
		t.Errorf("got %s", img.Config.Bytes)
	}
}

func TestAssembleRefuses(t *testing.T) {
	base := dockerParts(t, types.DockerLayer)
	fewer := ImageParts{Manifest: base.Manifest, Config: bytes.Replace(base.Config, []byte(`"diff_ids":[`), []byte(`"diff_ids":["sha256:x",`), 1)}
	fewer.Manifest = bytes.Replace(fewer.Manifest, []byte(digest.FromBytes(base.Config)), []byte(digest.FromBytes(fewer.Config)), 1)
	for name, parts := range map[string]ImageParts{
		"other config": {Manifest: base.Manifest, Config: []byte("{}")},
		"an index":     {Manifest: []byte(`{"schemaVersion":2,"manifests":[]}`), Config: base.Config},
		"nothing":      {},
		"layers":       fewer,
	} {
		if _, err := Assemble(parts, nil, AssembleOptions{}); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	failed := errors.New("no")
	if _, err := Assemble(base, nil, AssembleOptions{Edit: func(*Config) error { return failed }}); !errors.Is(err, failed) {
		t.Errorf("got %v", err)
	}
}

// TestEditRemoves: what an edit takes away is gone from the raw form too.
func TestEditRemoves(t *testing.T) {
	base := dockerParts(t, types.DockerLayer)
	img, err := Assemble(base, nil, AssembleOptions{Edit: func(c *Config) error {
		c.Config.Healthcheck, c.Config.OnBuild, c.Config.Env = nil, nil, nil
		c.Author = "me"
		now := time.Unix(5, 0).UTC()
		c.Created = &now
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	config := string(img.Config.Bytes)
	for _, gone := range []string{"Healthcheck", "OnBuild", `"Env"`} {
		if strings.Contains(config, gone) {
			t.Errorf("%s is still there: %s", gone, config)
		}
	}
	if !strings.Contains(config, `"author":"me"`) || !strings.Contains(config, `"created":"1970-01-01T00:00:05Z"`) {
		t.Errorf("got %s", config)
	}
}

// TestEditKeysOfAnyCase: readers that ignore case must not find two values.
func TestEditKeysOfAnyCase(t *testing.T) {
	o, err := decodeObject([]byte(`{"Config":{"env":["A=1"],"x":1},"os":"linux"}`))
	if err != nil {
		t.Fatal(err)
	}
	err = editConfig(o, func(c *Config) error { c.Config.Env = append(c.Config.Env, "B=2"); return nil })
	if err != nil {
		t.Fatal(err)
	}
	data, err := encode(o)
	if err != nil || string(data) != `{"config":{"Env":["A=1","B=2"],"x":1},"os":"linux"}` {
		t.Errorf("%v: %s", err, data)
	}
}

func TestIndexBytes(t *testing.T) {
	desc := func(p ocispecs.Platform) ocispecs.Descriptor {
		return ocispecs.Descriptor{MediaType: ocispecs.MediaTypeImageManifest, Digest: digest.FromString(p.Architecture), Size: 3, Platform: &p}
	}
	index, err := Index([]ocispecs.Descriptor{desc(arm64), desc(amd64)})
	if err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[`+
		`{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":%q,"size":3,"platform":{"architecture":"arm64","os":"linux"}},`+
		`{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":%q,"size":3,"platform":{"architecture":"amd64","os":"linux"}}]}`,
		digest.FromString("arm64"), digest.FromString("amd64"))
	if string(index.Bytes) != want {
		t.Errorf("got  %s\nwant %s", index.Bytes, want)
	}
	nameless := desc(amd64)
	nameless.Platform = nil
	for name, in := range map[string][]ocispecs.Descriptor{
		"none": nil, "twice": {desc(amd64), desc(amd64)}, "no platform": {nameless},
		"an index": {{MediaType: ocispecs.MediaTypeImageIndex, Platform: &amd64}},
	} {
		if _, err := Index(in); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
