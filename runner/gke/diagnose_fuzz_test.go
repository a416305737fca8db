package gke

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// FuzzMessages gives every reader of a cluster's texts any text: no panic, and
// what people see is short, valid text on one line.
func FuzzMessages(f *testing.F) {
	for _, text := range []string{"", "[{", "0/5 nodes are available: 1 Insufficient x", "pod triggered scale-up: [{https://a/b 0->1 (max: 3)} {c}]", `Pulling image "x`,
		`Successfully pulled image "x" in 1s (1s). Image size: 99999999999999999999 bytes.`, `{"phase":"run","exitCode":-1}`, "desc = \xff\xfe", "Error creating: is forbidden: exceeded quota"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		e := &corev1.Event{Message: text, Reason: "TriggeredScaleUp"}
		pod := &corev1.Pod{Spec: corev1.PodSpec{Containers: []corev1.Container{{Image: "x"}}}}
		pullWords, _ := whyNotPulled("x", text)
		createWords, _ := whyNotCreated(text)
		scaleWords, _, _ := autoscalerSays(e)
		for _, said := range []string{pullWords.message, createWords.message, scaleWords.message, whyNotScaled(text).message, whyUnschedulable(text).message,
			pulledImage(pod, e), pullFigures(text), scaledGroups(text), oneLine(text)} {
			if len(said) > 900 || strings.ContainsAny(said, "\n\r") || !utf8.ValidString(said) {
				t.Errorf("%d bytes: %.80q", len(said), said)
			}
		}
		configHint(text)
		startHint(text)
		mountHint(text)
		if m, ok := parseTermination(text); ok && m.Phase == "" {
			t.Error("a termination message without a phase")
		}
	})
}

// FuzzObjects decides from any objects that a cluster might give: no panic, and a
// state that has a phase and few hosts.
func FuzzObjects(f *testing.F) {
	for _, objects := range [][]m{{jobObject(), runningPod("train-x")}, {suspendedJob(), workload()}, {failedJob(), terminatedPod(137, "OOMKilled", "")},
		{with(jobObject(), -5, "spec", "completions"), event(1, "Pod", "Pulled", `Image size: x`)}, {{"kind": "JobSet", "metadata": m{"name": "train"}, "spec": m{"replicatedJobs": []any{1, "x"}}}}} {
		raw, err := json.Marshal(objects)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		var list []json.RawMessage
		if json.Unmarshal(raw, &list) != nil || len(list) > 20 {
			return
		}
		o := newObserver(&Run{Name: "train", Namespace: "ml", Kind: "Job"})
		for _, one := range list {
			u := &unstructured.Unstructured{}
			if u.UnmarshalJSON(one) != nil {
				continue
			}
			switch u.GetKind() {
			case "Pod":
				o.putPod(u)
			case "Event":
				if o.aboutJob(u) {
					o.putEvent(u)
				}
			case "Node":
				o.putNode(u.GetName(), u, nil)
			case "Workload":
				o.workload = u
			default:
				o.putMain(u)
			}
		}
		for _, gone := range []bool{false, true} {
			o.gone = gone
			s := o.snapshot()
			if f := decide(s); f.Phase == "" || len(f.Hosts) > maxHosts {
				t.Errorf("%+v", f.State)
			}
			if s.main == nil { // Debug ends before it comes to hosts
				continue
			}
			for n, h := range s.hosts() {
				if n < 3 {
					s.reportHost(h)
				}
			}
			reportEvents(s.events)
		}
	})
}
