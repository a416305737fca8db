package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/ibuild/ibuild/runner/gke"
)

// TestWriteDebug has all of a report on the page, with nothing that a terminal acts upon.
func TestWriteDebug(t *testing.T) {
	now := time.Date(2026, 11, 23, 5, 0, 0, 0, time.UTC)
	r := &gke.Report{Job: "train-x", Namespace: "ml", Kind: "Job", Phase: gke.Failed, Message: "host 1: it failed", Hint: "do this", Attempt: 2, Created: now.Add(-time.Hour),
		Facts: map[string]string{"source": "train.py"}, Conditions: []string{"Failed=True BackoffLimitExceeded"}, Queue: []string{"Admitted=True"}, Quotas: []string{"q: 1 of 2 pods used"}, Unread: []string{"nodes: forbidden"},
		Hosts: []gke.HostReport{
			{Pod: "train-x-0", Node: "n0", Phase: gke.Running, Containers: []string{"program: running"}},
			{Index: 1, Pod: "train-x-1", Node: "n1", Phase: gke.Failed, ExitCode: 3, Conditions: []string{"Ready=False"}, OfNode: []string{"Ready=Unknown"}, LastLines: []string{"Traceback", "\x1b]0;title\x07"}},
		},
		Events: []gke.EventReport{{Time: now.Add(-time.Minute), About: "Pod train-x-1", Reason: "BackOff", Message: "back-off", Count: 3}}}
	var b bytes.Buffer
	writeDebug(plainText{&b}, r, "kubectl --namespace ml exec -it %s -- sh", now)
	want := []string{
		"job train-x in the namespace ml, made 1h ago", "  source: train.py", "failed, attempt 2: host 1: it failed", "hint:  do this", "Failed=True BackoffLimitExceeded", "Admitted=True",
		"host 0: running, pod train-x-0 on node n0", "container program: running", "a shell: kubectl --namespace ml exec -it train-x-0 -- sh",
		"host 1: failed", "pod Ready=False", "node Ready=Unknown", "    Traceback", "   1m ago  Pod train-x-1  BackOff (3 times): back-off", "q: 1 of 2 pods used", "nodes: forbidden",
	}
	rest := b.String()
	for _, text := range want {
		_, after, ok := strings.Cut(rest, text)
		if !ok {
			t.Fatalf("%q does not come, or not in its place:\n%s", text, b.String())
		}
		rest = after
	}
	if strings.ContainsAny(b.String(), "\x1b\x07") {
		t.Errorf("%q", b.String())
	}
}
