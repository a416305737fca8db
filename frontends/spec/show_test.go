package spec

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.yaml.in/yaml/v3"

	"github.com/ibuild/ibuild/frontends/source"
	"github.com/ibuild/ibuild/llb"
)

// sameSteps ignores places: where a spec says something is all that may differ.
func sameSteps(t *testing.T, want, got *llb.Plan) {
	t.Helper()
	if diff := cmp.Diff(want, got, cmpopts.IgnoreTypes(llb.Lines{}), cmpopts.IgnoreFields(llb.Image{}, "Sources"),
		cmpopts.IgnoreFields(llb.Plan{}, "Warnings"), cmpopts.IgnoreUnexported(llb.Local{}), cmpopts.EquateEmpty()); diff != "" {
		t.Error(diff)
	}
}

// TestYAMLSaysTheSame writes every spec of the golden tests, and one with all that Go can say, as YAML, and
// reads it again.
func TestYAMLSaysTheSame(t *testing.T) {
	specs, err := filepath.Glob("testdata/*/image.yaml")
	if err != nil || len(specs) < 8 {
		t.Fatal(specs, err)
	}
	for _, path := range specs {
		t.Run(filepath.Base(filepath.Dir(path)), func(t *testing.T) {
			src := read(t, path)
			img, err := Parse(src)
			if err != nil {
				t.Fatal(err)
			}
			writtenAndRead(t, img, src)
		})
	}
	t.Run("all that Go can say", func(t *testing.T) { writtenAndRead(t, everything(), folderFor(t)) })
}

func writtenAndRead(t *testing.T, img Image, src source.Source) {
	t.Helper()
	want, err := img.Plan(src)
	if err != nil {
		t.Fatal(err)
	}
	data, err := img.YAML()
	if err != nil {
		t.Fatal(err)
	}
	again := src
	again.Data = data
	got, err := Load(again)
	if err != nil {
		t.Fatalf("%v\n%s", err, data)
	}
	sameSteps(t, want, got)
	parsed, err := Parse(again)
	if err != nil {
		t.Fatal(err)
	}
	if twice, err := parsed.YAML(); err != nil || !bytes.Equal(data, twice) {
		t.Errorf("written twice, it differs (%v):\n%s", err, cmp.Diff(string(data), string(twice)))
	}
}

// TestSchema compares the schema with the one that docs/ has for editors.
func TestSchema(t *testing.T) {
	const path = "../../docs/image.schema.json"
	got, err := Schema()
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("run the test with -update:\n%s", diff)
	}
}

// TestSchemaAccepts checks every golden spec, and what a spec is written as, against the schema.
func TestSchemaAccepts(t *testing.T) {
	data, err := Schema()
	if err != nil {
		t.Fatal(err)
	}
	var root map[string]any
	if err := json.Unmarshal(data, &root); err != nil {
		t.Fatal(err)
	}
	check := func(t *testing.T, text []byte) bool {
		var value any
		if err := yaml.Unmarshal(text, &value); err != nil {
			t.Fatal(err)
		}
		return accepts(t, root, root, value)
	}
	specs, _ := filepath.Glob("testdata/*/image.yaml")
	for _, path := range specs {
		if !check(t, read(t, path).Data) {
			t.Errorf("the schema refuses %s", path)
		}
	}
	all, err := everything().YAML()
	if err != nil {
		t.Fatal(err)
	}
	if !check(t, all) {
		t.Errorf("the schema refuses\n%s", all)
	}
	for _, bad := range []string{"pakages: [x]", "packages: {a: b}", "layers: [{pip: {packages: [x], oops: 1}}]", "layers: [{apt: [x], pip: [y]}]", "secrets: [{ids: x}]"} {
		if check(t, []byte(bad)) {
			t.Errorf("the schema accepts %s", bad)
		}
	}
}

// accepts is as much of JSON Schema as the schema of specs uses; a keyword that it does not know fails the test.
func accepts(t *testing.T, root, schema map[string]any, value any) bool {
	t.Helper()
	ok := true
	for keyword, arg := range schema {
		switch keyword {
		case "$schema", "$id", "$defs", "title", "description":
		case "$ref":
			to := root
			if arg != "#" {
				to = root["$defs"].(map[string]any)[filepath.Base(arg.(string))].(map[string]any)
			}
			ok = ok && accepts(t, root, to, value)
		case "anyOf":
			any1 := false
			for _, s := range arg.([]any) {
				any1 = any1 || accepts(t, root, s.(map[string]any), value)
			}
			ok = ok && any1
		case "enum":
			found := false
			for _, v := range arg.([]any) {
				found = found || v == value
			}
			ok = ok && found
		case "type":
			ok = ok && hasType(arg, value)
		case "items":
			list, _ := value.([]any)
			for _, v := range list {
				ok = ok && accepts(t, root, arg.(map[string]any), v)
			}
		case "required":
			m, _ := value.(map[string]any)
			for _, name := range arg.([]any) {
				_, there := m[name.(string)]
				ok = ok && there
			}
		case "properties", "additionalProperties":
			m, _ := value.(map[string]any)
			properties, _ := schema["properties"].(map[string]any)
			for name, v := range m {
				p, known := properties[name]
				switch other := schema["additionalProperties"].(type) {
				case bool:
					ok = ok && (known || other)
				case map[string]any:
					ok = ok && (known || accepts(t, root, other, v))
				}
				if known {
					ok = ok && accepts(t, root, p.(map[string]any), v)
				}
			}
		default:
			t.Fatalf("unknown keyword %s", keyword)
		}
	}
	return ok
}

func hasType(types, value any) bool {
	list, many := types.([]any)
	if !many {
		list = []any{types}
	}
	for _, name := range list {
		switch value.(type) {
		case string:
			if name == "string" {
				return true
			}
		case bool:
			if name == "boolean" {
				return true
			}
		case int, float64:
			if name == "number" {
				return true
			}
		case []any:
			if name == "array" {
				return true
			}
		case map[string]any:
			if name == "object" {
				return true
			}
		}
	}
	return false
}

// A reference that would be read as ibuild's own base, or as a file, is written in full.
func TestReferencesAreReadAgain(t *testing.T) {
	for ref, want := range map[string]string{
		"debian": "docker.io/library/debian:latest", "debian:12": "debian:12", "scratch": "scratch", "registry.example/app.yaml": "registry.example/app.yaml:latest",
		"app:v1.yaml": "app:v1.yaml", "h:5000/a.yaml": "h:5000/a.yaml:latest", "app.yml": "docker.io/library/app.yml:latest", "h:5000/a": "h:5000/a",
	} {
		data, err := From(ref).YAML()
		if err != nil || string(data) != "base_image: "+want+"\n" {
			t.Errorf("%s is written as %s (%v)", ref, data, err)
		}
		img, err := Parse(source.Source{Data: data})
		if err != nil {
			t.Errorf("%s: %v", data, err)
			continue
		}
		if _, ok := img.start.(existing); !ok {
			t.Errorf("%s is read as %T", data, img.start)
		}
	}
}
