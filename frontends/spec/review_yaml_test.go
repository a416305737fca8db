package spec

import (
	"encoding/json"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/quick"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"github.com/ibuild/ibuild/frontends/source"
)

// oddTexts are what YAML takes for something else than a text, or changes.
func oddTexts() []string {
	return []string{
		"yes", "No", "on", "~", "null", "Null", "true", "1e3", "0x1F", "0o17", "0b1", "1_000", ".5", ".inf", "-.NaN", "2001-01-01", "2001-01-01T00:00:00Z",
		"12:30:45", "=", "<<", "- a", "? a", "a: b", "a:", ": ", ":", "# x", "a # b", "'", "\"", "\\", "%x", "@x", "`x", "!x", "!!int 1", "&a", "*a", "|", ">", "|-", "[a]", "{a: b}",
		"a, b", " x", "x ", "  ", "\t", "a\tb", "x\t", "\tx", "a\nb", "a\n", "\na", "\n\na\n\n", " a\nb", "a\n b\n  c\n", "a \nb ", "\n", "a\r\nb", "a\rb", "\r", "é", "日本", "👍🏽", "\u0085", "\u2028", "\u2029",
		"a\u0085b", "a\u2028b\nc", "\ufeff", "\u00a0", "\u200b", "\x07", "\x1b[2J", "\x7f", "---", "...", "a\n---\nb", "a\n...\nb", strings.Repeat("x y ", 60), strings.Repeat("é", 200), "$HOME", "${A}", "{{ x }}",
		"# x\n- y", "\n# x", "a\n\tb", "\ta\n\tb", "-", "--", "?", "0", "00", "1.0", "3.10", "+1", "-0", "1e-5", "0.", "١",
	}
}

// sameText writes a text with YAML in every place of an image that takes any text, and reads it again.
func sameText(t *testing.T, s string) bool {
	t.Helper()
	if !utf8.ValidString(s) || strings.ContainsRune(s, 0) {
		return true // neither a text nor a variable
	}
	ok := true
	images := map[string]Image{
		"env": DebianBase("3.12").WithEnv(map[string]string{"A": s}), "label": DebianBase("3.12").WithLabels(map[string]string{"k": s}),
		"cmd": DebianBase("3.12").WithCmd("x", s), "entrypoint": DebianBase("3.12").WithEntrypoint("x", s, "y"),
		"option": DebianBase("3.12").WithBuilder("local", map[string]string{"k": s, s: "v"}),
	}
	if strings.TrimSpace(s) != "" {
		images["command"] = DebianBase("3.12").WithCommands("x"+s, s)
		images["two layers"] = DebianBase("3.12").WithCommands(s).WithEnv(map[string]string{"A": s, "B": s})
	}
	for where, img := range images {
		src := source.Source{Dir: "."}
		want, err := img.WithPlainCredentials().Plan(src)
		if err != nil {
			continue // not a value of this field
		}
		data, err := img.WithPlainCredentials().YAML()
		if err != nil {
			t.Errorf("%s: %q: %v", where, s, err)
			return false
		}
		if src, err = source.New("", ".", data); err != nil {
			t.Errorf("%s: %q: %v", where, s, err)
			return false
		}
		got, err := Load(src)
		switch {
		case err != nil:
			t.Errorf("%s: %q cannot be read again: %v\n%s", where, s, err, data)
			ok = false
		case planText(t, got.Image.Steps) != planText(t, want.Image.Steps) || planText(t, got.BuilderOptions) != planText(t, want.BuilderOptions):
			t.Errorf("%s: %q is another text when it is read again\n%s", where, s, data)
			ok = false
		}
	}
	return ok
}

// planText is a value as JSON, without places.
func planText(t *testing.T, v any) string {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var tree any
	if err := json.Unmarshal(data, &tree); err != nil {
		t.Fatal(err)
	}
	data, _ = json.Marshal(withoutLines(tree))
	return string(data)
}

func withoutLines(v any) any {
	switch v := v.(type) {
	case map[string]any:
		delete(v, "Lines")
		for k := range v {
			v[k] = withoutLines(v[k])
		}
	case []any:
		for i := range v {
			v[i] = withoutLines(v[i])
		}
	}
	return v
}

// TestReviewYAMLKeepsOddTexts goes through the texts one by one.
func TestReviewYAMLKeepsOddTexts(t *testing.T) {
	for _, s := range oddTexts() {
		sameText(t, s)
	}
}

// TestReviewYAMLKeepsRandomTexts puts odd texts together.
func TestReviewYAMLKeepsRandomTexts(t *testing.T) {
	odd := oddTexts()
	random := rand.New(rand.NewPCG(1, 2))
	for range 400 { // FuzzReviewYAMLText does more
		var b strings.Builder
		for range 1 + random.IntN(4) {
			b.WriteString(odd[random.IntN(len(odd))])
		}
		if !sameText(t, b.String()) {
			return
		}
	}
	if err := quick.Check(func(s string) bool { return sameText(t, s) }, &quick.Config{MaxCount: 500}); err != nil {
		t.Error(err)
	}
}

// FuzzReviewYAMLText writes and reads any text.
func FuzzReviewYAMLText(f *testing.F) {
	for _, s := range oddTexts() {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if len(s) < 1000 {
			sameText(t, s)
		}
	})
}

// TestReviewEmptyLayer: an item of layers has one key; one without any is accepted, and means nothing.
func TestReviewEmptyLayer(t *testing.T) {
	if _, err := planOf(t, "layers: [{}]\n", nil); err == nil {
		t.Error("no error")
	}
}

// FuzzReviewSchema: what Load and Parse accept is allowed by the schema.
func FuzzReviewSchema(f *testing.F) {
	for _, s := range []string{
		"packages: [a]\nplatform: linux/amd64\nenv: {A: 1, B: true}\n", "entrypoint: []\ncmd: a b\nlayers: [{run: x}, {code_bundle: all}, {copy: a}]\n",
		"base_image: {base_image: scratch}\nlayers: [{env: {A: b}}, {pip: [a]}, {pip: {packages: [a], extra_args: --pre}}]\n",
		"secrets: [a, {id: b, for: [packages]}]\npackages: [x]\npip_secret_mounts: [[a, /b]]\n", "python_version: 3.12\ntag: 1\n",
		"layers: [{apt: {packages: [a], secrets: [x, {id: y, optional: true}]}}, {conda: [a]}, {uv_project: .}, {requirements: {file: r.txt}}]\n",
		"tensorflow_cloud: {entry_point: a.py, gpu: true}\n", "from_env: [a]\n", "dockerfile: {file: x, args: {A: b}}\n", "packages: &p [a]\nruntime_packages: *p\n",
		"source_copy_mode: auto\nsource_root: x\nentrypoint: [python, a.py]\n", "allow_plain_credentials: True\nstandard_ignores: FALSE\n", "tag: 2001-01-01\nname: x\n",
	} {
		f.Add(s)
	}
	data, err := Schema()
	if err != nil {
		f.Fatal(err)
	}
	var schema map[string]any
	if err := json.Unmarshal(data, &schema); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string) {
		src, err := source.New("x", ".", []byte(text))
		if err != nil || len(text) > 2000 {
			return
		}
		if _, err := Parse(src); err != nil {
			return
		}
		var value any
		if err := yaml.Unmarshal(src.Data, &value); err != nil {
			t.Fatalf("Parse reads what YAML cannot: %v", err)
		}
		data, err := json.Marshal(value)
		if err != nil {
			return // keys that are no texts
		}
		if err := json.Unmarshal(data, &value); err != nil {
			t.Fatal(err)
		}
		if !accepts(t, schema, schema, value) {
			t.Errorf("the schema refuses\n%s", text)
		}
	})
}
