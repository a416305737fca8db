package gke

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	k8syaml "k8s.io/apimachinery/pkg/util/yaml"
)

// readYAML reads documents as kubectl does.
func readYAML(t *testing.T, data []byte) []*unstructured.Unstructured {
	t.Helper()
	var list []*unstructured.Unstructured
	for dec := k8syaml.NewYAMLOrJSONDecoder(bytes.NewReader(data), 4096); ; {
		o := &unstructured.Unstructured{}
		if err := dec.Decode(o); errors.Is(err, io.EOF) {
			return list
		} else if err != nil {
			t.Fatalf("%v in\n%s", err, data)
		}
		list = append(list, o)
	}
}

// podOf is the pod that the last object makes.
func podOf(t *testing.T, objects []*unstructured.Unstructured) corev1.PodSpec {
	t.Helper()
	o := objects[len(objects)-1].Object
	if groups, ok, _ := unstructured.NestedSlice(o, "spec", "replicatedJobs"); ok {
		o = groups[0].(map[string]any)["template"].(map[string]any)
	}
	var job batchv1.Job
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o, &job); err != nil {
		t.Fatal(err)
	}
	return job.Spec.Template.Spec
}

// expanded is what a kubelet makes of a text when no variable that it names is
// set, and a mark where one is: by the rule of Kubernetes' API, $(NAME) is a
// variable, and $$ is $.
func expanded(text string, set func(string) bool) string {
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		if text[i] != '$' || i+1 == len(text) {
			b.WriteByte(text[i])
			continue
		}
		end := strings.IndexByte(text[i:], ')')
		switch {
		case text[i+1] == '$':
			b.WriteByte('$')
			i++
		case text[i+1] == '(' && end > 0:
			if name := text[i+2 : i+end]; set(name) {
				b.WriteString("EXPANDED")
			} else {
				b.WriteString("$(" + name + ")")
			}
			i += end
		default:
			b.WriteByte('$')
		}
	}
	return b.String()
}

// TestSecretYAML: values are in the one and not in the other, and what is checked
// of a Secret for pulling holds in both.
func TestSecretYAML(t *testing.T) {
	objects, err := Manifests(goldenJobs(t)["secrets"])
	if err != nil {
		t.Fatal(err)
	}
	data, err := SecretYAML(objects)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(objects, readYAML(t, data)); diff != "" {
		t.Errorf("read back:\n%s", diff)
	}
	data, err = YAML(objects)
	if err != nil || strings.Count(string(data), "# The values of this Secret are left out") != 3 {
		t.Errorf("%v\n%s", err, data)
	}
	for _, o := range readYAML(t, data) {
		if text, ok, _ := unstructured.NestedString(o.Object, "stringData", corev1.DockerConfigJsonKey); ok && text != `{"auths":{"REDACTED":{}}}` {
			t.Errorf("%s", text)
		}
	}
}

// hostile are pieces of texts that mean something to YAML, JSON, shells, terminals or Kubernetes.
var hostile = []string{"", " ", "\n", "\r\n", "\t", "---\n", "...\n", "# ", ": ", "- ", "? ", "& ", "*a", "!!binary ", "%YAML", "|", ">-", "'", `"`, `\`, "{", "}", "[", "]", ",", "@", "`",
	"null", "~", "true", "no", "0x1f", "1e3", "1_000", "2001-01-01", "<<", "=", "$", "$$", "$(A)", "$(", "$((A))", "$(HOME)", "${A}", "\x01", "\x1b[31m", "\x7f", "\u0085", "\u2028", "\ufeff",
	"\ufffd", "\ufffe", "\u202e", "é", "日本", "\U0001f600", "\U0010ffff", "apiVersion: v1\nkind: Secret\n", strings.Repeat("x", 300)}

// hostileText is a few of them.
func hostileText(r *rand.Rand) string {
	var b strings.Builder
	for range r.IntN(6) {
		b.WriteString(hostile[r.IntN(len(hostile))])
	}
	return b.String()
}

// TestHostileTexts: arguments, variables, facts and owners of any text come out of
// the YAML as they went in.
func TestHostileTexts(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 400 {
		j := testJob(t, []string{"cpu", "v5e:4x4"}[r.IntN(2)])
		j.Args = []string{"x", hostileText(r), hostileText(r)}
		j.Env = []Variable{{"A", hostileText(r)}, {"B", hostileText(r)}}
		j.SecretEnv = []Variable{{"C", hostileText(r)}}
		j.Dir = "/" + hostileText(r)
		j.Facts = map[string]string{"source": hostileText(r)}
		j.Owner = hostileText(r)
		if r.IntN(3) == 0 && j.Accelerator.Kind == TPU {
			j.Slices = 2
		}
		checkRoundTrip(t, j)
	}
}

// checkRoundTrip goes from a job through YAML to what a program would see.
func checkRoundTrip(t *testing.T, j Job) {
	t.Helper()
	objects, err := Manifests(j)
	if err != nil {
		t.Fatal(err)
	}
	data, err := SecretYAML(objects)
	if err != nil {
		t.Fatal(err)
	}
	back := readYAML(t, data)
	if diff := cmp.Diff(objects, back); diff != "" {
		t.Fatalf("read back from YAML:\n%s", diff)
	}
	pod := podOf(t, back)
	c := pod.Containers[0]
	seen := map[string]bool{}
	set := func(name string) bool { return seen[name] }
	for i, v := range j.Env {
		if got := expanded(c.Env[i].Value, set); c.Env[i].Name != v.Name || got != v.Value {
			t.Errorf("%q is %q, not %q", v.Name, got, v.Value)
		}
		seen[v.Name] = true
	}
	for i, want := range j.Args {
		if got := expanded(c.Args[i], set); got != want {
			t.Errorf("argument %d is %q, not %q", i, got, want)
		}
	}
	top := back[len(back)-1].GetAnnotations()
	for name, want := range j.Facts {
		if top[Domain+name] != want {
			t.Errorf("fact %q is %q, not %q", name, top[Domain+name], want)
		}
	}
	if top[ownerAnnotation] != j.Owner || c.WorkingDir != j.Dir {
		t.Errorf("owner %q, folder %q", top[ownerAnnotation], c.WorkingDir)
	}
	for _, v := range j.SecretEnv {
		if got := secretValue(t, back, envSecret(j), v.Name); got != v.Value {
			t.Errorf("secret %q is %q, not %q", v.Name, got, v.Value)
		}
	}
}

func secretValue(t *testing.T, objects []*unstructured.Unstructured, name, key string) string {
	t.Helper()
	for _, o := range objects {
		if o.GetKind() != "Secret" || o.GetName() != name {
			continue
		}
		var s corev1.Secret
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, &s); err != nil {
			t.Fatal(err)
		}
		return string(s.Data[key])
	}
	t.Errorf("no Secret %s", name)
	return ""
}

// FuzzManifests: what is no error comes out as it went in.
func FuzzManifests(f *testing.F) {
	f.Add("train", "arg", "NAME", "value", "secret", "/data", "sub", "owner", "fact", "label", byte(0))
	f.Add("a", "$(A)$$", "A", "\u0085\ufeff", "x: y\n---\n", "/a:b", "../x", "\x1b", "a/b", "=", byte(7))
	accelerators := []string{"cpu", "l4", "v5e:4x4", "gb200"}
	f.Fuzz(func(t *testing.T, name, arg, variable, value, secret, folder, sub, owner, fact, selector string, bits byte) {
		j := testJob(t, accelerators[bits%4])
		j.Name, j.Args, j.Env, j.SecretEnv = name, []string{arg}, []Variable{{variable, value}}, []Variable{{variable + "S", secret}}
		j.Owner, j.Facts, j.Selector = owner, map[string]string{fact: value}, map[string]string{selector: owner}
		j.Volumes = []Volume{{Path: folder, Bucket: "abc", Sub: sub}}
		if bits&16 != 0 {
			j.Volumes = []Volume{{Path: folder, Claim: name, Sub: sub}}
		}
		j.Queue, j.Dir = selector, folder
		if _, err := Manifests(j); err != nil {
			var e *JobError
			if !errors.As(err, &e) || e.Findings[0].Field == "" {
				t.Errorf("%T: %v", err, err)
			}
			j = testJob(t, accelerators[bits%4]) // and the parts that may be any text
			j.Args, j.Env, j.SecretEnv, j.Owner, j.Facts = []string{arg}, []Variable{{"A", value}}, []Variable{{"B", secret}}, owner, map[string]string{"f": value}
			if _, err := Manifests(j); err != nil {
				return
			}
		}
		checkRoundTrip(t, j)
	})
}
