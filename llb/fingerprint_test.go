package llb

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
)

var testSalt = Salt("sixteen bytes ..")

// A fingerprint is no digest of the value that somebody could try short values against, and says nothing of the salt.
func TestFingerprintsNeedTheSalt(t *testing.T) {
	graph := secretGraph("hunter2")
	seen := map[string]bool{}
	for _, salt := range []Salt{testSalt, Salt("another salt"), nil} {
		data, err := json.Marshal(graph.Outline(maskTokens, salt).Images[0].Config)
		if err != nil {
			t.Fatal(err)
		}
		text := string(data)
		if strings.Contains(text, digest.FromString("hunter2").Encoded()[:8]) || seen[text] {
			t.Errorf("salt %q: %s", salt, text)
		}
		seen[text] = true
	}
	if a, b := testSalt.fingerprint("a"), testSalt.fingerprint("b"); a == b || !hiddenPattern().MatchString(a) {
		t.Errorf("%s and %s", a, b)
	}
}

// Outlines with fingerprints of other salts, or of none, are compared by all that can be: what is hidden counts as
// changed only where nothing else is different in a step that is.
func TestDiffAcrossSalts(t *testing.T) {
	const unknown = "variable API_TOKEN is hidden, and cannot be compared with what was recorded then\n"
	for name, c := range map[string]struct {
		before, after string
		was, is       Salt
		status        Status
		want          []string
	}{
		"the same":                    {"canary-one", "canary-one", testSalt, testSalt, StatusSame, []string{"nothing changed"}},
		"another value":               {"canary-one", "canary-two", testSalt, testSalt, StatusChanged, []string{"~ RUN login", "variable API_TOKEN: (hidden "}},
		"another salt":                {"canary-one", "canary-one", testSalt, Salt("b"), StatusUnknown, []string{"= 1 step as before", "? config of the image\n      " + unknown}},
		"no salt":                     {"canary-one", "canary-one", nil, nil, StatusUnknown, []string{"= 1 step as before", "? config of the image\n      " + unknown}},
		"an unsalted record":          {"canary-one", "canary-one", nil, testSalt, StatusUnknown, []string{"= 1 step as before", unknown}},
		"another value, another salt": {"canary-one", "canary-two", testSalt, Salt("b"), StatusChanged, []string{"~ RUN login", unknown}},
	} {
		t.Run(name, func(t *testing.T) {
			d := Diff(secretGraph(c.before).Outline(maskTokens, c.was), secretGraph(c.after).Outline(maskTokens, c.is))
			var out bytes.Buffer
			if err := d.WriteText(&out); err != nil {
				t.Fatal(err)
			}
			if d.Images[0].Status != c.status || slices.ContainsFunc(c.want, func(w string) bool { return !strings.Contains(out.String(), w) }) {
				t.Errorf("%s:\n%s", d.Images[0].Status, out.String())
			}
			if d.Same() != (c.status == StatusSame) || d.Changed() != (c.status == StatusChanged) {
				t.Errorf("same: %v, changed: %v", d.Same(), d.Changed())
			}
		})
	}
}
