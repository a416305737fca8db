package registry

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"unicode"

	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/opencontainers/go-digest"
)

// onlyOurs fails for errors that are not this package's own, or not printable.
func onlyOurs(t *testing.T, err error) {
	t.Helper()
	if err == nil {
		return
	}
	var missing *PlatformError
	if !errors.Is(err, ErrBadAnswer) && !errors.As(err, &missing) {
		t.Fatalf("%T: %v", err, err)
	}
	if strings.ContainsFunc(err.Error(), func(r rune) bool { return !unicode.IsPrint(r) }) {
		t.Fatalf("not printable: %q", err)
	}
}

func FuzzDocument(f *testing.F) {
	f.Add([]byte(`{"schemaVersion":2,"manifests":[]}`))
	f.Add(rawManifestOf(f, testIndex(f, amd64, arm64)))
	f.Add(rawManifestOf(f, testImage(f, amd64)))
	f.Add([]byte(`{"schemaVersion":2,"config":{},"layers":[{}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		doc, err := decodeDocument(data, defaultLimits())
		onlyOurs(t, err)
		if err != nil {
			return
		}
		if (doc.index == nil) == (doc.image == nil) {
			t.Fatalf("not one of image and index: %+v", doc)
		}
		if doc.index != nil {
			desc, err := choose("ref", doc.index, arm64)
			onlyOurs(t, err)
			if err == nil && desc.Digest.Validate() != nil {
				t.Fatalf("chosen without digest: %+v", desc)
			}
		}
	})
}

func FuzzConfig(f *testing.F) {
	f.Add([]byte(`{"os":"linux","architecture":"arm64","variant":"v8","config":{"Env":["A=B"]},"rootfs":{"type":"layers","diff_ids":[]}}`))
	f.Add([]byte(`{"config":null,"Config":{},"history":[null]}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, data []byte) {
		has, err := decodeConfig(data)
		onlyOurs(t, err)
		if err == nil {
			_, err := checkPlatform("ref", amd64, has, nil)
			onlyOurs(t, err)
		}
		// As the config of a base image without layers.
		manifest, err := json.Marshal(map[string]any{
			"schemaVersion": 2,
			"config":        map[string]any{"mediaType": types.OCIConfigJSON, "digest": digest.FromBytes(data), "size": len(data)},
			"layers":        []any{},
		})
		if err != nil {
			t.Fatal(err)
		}
		img, err := Assemble(ImageParts{Manifest: manifest, Config: data}, nil, AssembleOptions{Edit: func(c *Config) error {
			c.Config.Env = []string{"SET=1"}
			return nil
		}})
		if err != nil {
			return
		}
		var c Config
		if err := json.Unmarshal(img.Config.Bytes, &c); err != nil {
			t.Fatalf("%v: %s", err, img.Config.Bytes)
		}
		if len(c.Config.Env) != 1 || c.Config.Env[0] != "SET=1" {
			t.Fatalf("the edit is lost: %s", img.Config.Bytes)
		}
	})
}

func FuzzReference(f *testing.F) {
	for _, s := range []string{"debian", "localhost:5000/a/b:c", "x@" + string(digest.FromString("x")), "[::1]:5000/a"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := parseRef(s)
		onlyOurs(t, err)
		if err == nil && (p.host == "" || p.path == "" || p.tag == "" && p.dgst == "") {
			t.Fatalf("%+v", p)
		}
	})
}
