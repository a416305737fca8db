package gke

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// nodeFile is the log of a container on its node, as the kubelet serves it:
// lines in the order of the file, those before sinceTime left out.
type nodeFile struct {
	mu    sync.Mutex
	lines []nodeLine
	tail  string              // last words without a line's end
	cut   func(sent int) bool // says whether the connection breaks after so many bytes of it
	opens int
}

type nodeLine struct {
	at   time.Time
	text string
}

func (f *nodeFile) add(at time.Time, text string) {
	f.mu.Lock()
	f.lines = append(f.lines, nodeLine{at, text})
	f.mu.Unlock()
}

// rotate puts an empty file in place of the lines so far.
func (f *nodeFile) rotate() {
	f.mu.Lock()
	f.lines = nil
	f.mu.Unlock()
}

const stampFormat = "2006-01-02T15:04:05.000000000Z07:00"

func (f *nodeFile) serve(w http.ResponseWriter, r *http.Request) {
	since, _ := time.Parse(time.RFC3339, r.URL.Query().Get("sinceTime"))
	f.mu.Lock()
	f.opens++
	lines, tail, cut := slices.Clone(f.lines), f.tail, f.cut
	f.mu.Unlock()
	sent := 0
	send := func(text string) {
		for len(text) > 0 {
			n := min(len(text), 1000)
			_, _ = io.WriteString(w, text[:n])
			sent += n
			text = text[n:]
			if cut != nil && cut(sent) {
				w.(http.Flusher).Flush()
				panic(http.ErrAbortHandler)
			}
		}
	}
	for _, l := range lines {
		if !l.at.Before(since) {
			send(l.at.Format(stampFormat) + " " + l.text + "\n")
		}
	}
	if tail != "" {
		send(time.Unix(1_800_000_000, 0).UTC().Format(stampFormat) + " " + tail)
	}
}

func podObject(name, phase string, container map[string]any) map[string]any {
	return map[string]any{
		"kind": "Pod", "apiVersion": "v1",
		"metadata": map[string]any{"name": name, "namespace": "ml", "uid": "uid-" + name, "labels": map[string]any{JobLabel: "train"}, "creationTimestamp": "2026-11-23T04:00:00Z"},
		"spec":     map[string]any{"nodeName": "node-1", "containers": []any{map[string]any{"name": ProgramContainer, "image": "reg/train@sha256:1"}}},
		"status": map[string]any{"phase": phase, "containerStatuses": []any{
			map[string]any{"name": ProgramContainer, "image": "reg/train@sha256:1", "containerID": "containerd://1", "state": container}}},
	}
}

func endedPod(name string, code int) map[string]any {
	phase := "Succeeded"
	if code != 0 {
		phase = "Failed"
	}
	return podObject(name, phase, map[string]any{"terminated": map[string]any{"exitCode": code, "reason": "Error", "finishedAt": "2026-11-23T04:05:00Z"}})
}

func runningPod(name string) map[string]any {
	return podObject(name, "Running", map[string]any{"running": map[string]any{"startedAt": "2026-11-23T04:01:00Z"}})
}

func jobObject(conditions ...any) map[string]any {
	return map[string]any{"kind": "Job", "apiVersion": "batch/v1",
		"metadata": map[string]any{"name": "train", "namespace": "ml", "uid": "uid-job", "creationTimestamp": "2026-11-23T04:00:00Z"},
		"spec":     map[string]any{"completions": 1, "backoffLimit": 0},
		"status":   map[string]any{"conditions": conditions}}
}

func conditionObject(kind, reason, message string) map[string]any {
	return map[string]any{"type": kind, "status": "True", "reason": reason, "message": message, "lastTransitionTime": "2026-11-23T04:05:01Z"}
}

// readLogs reads all lines of a job that has ended, and joins those that came in
// pieces.
func readLogs(t *testing.T, r *Run, o LogOptions) (lines []string, notes []string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var open strings.Builder
	err := r.Logs(ctx, o, func(l Line) error {
		switch {
		case l.Note:
			notes = append(notes, l.Text)
		case l.More:
			open.WriteString(l.Text)
		default:
			lines = append(lines, open.String()+l.Text)
			open.Reset()
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return lines, notes
}

// disorderly makes lines as two threads write them: times that repeat, or go
// back a little, texts that repeat, are empty, long, or no text at all.
func disorderly(random *rand.Rand, n int) []nodeLine {
	at := time.Unix(1_790_000_000, 0).UTC()
	var lines []nodeLine
	for i := range n {
		at = at.Add(time.Duration(random.IntN(3)) * 40 * time.Millisecond)
		stamp := at.Add(-time.Duration(random.IntN(2)*random.IntN(300)) * time.Millisecond)
		text := fmt.Sprint("line ", i)
		switch random.IntN(12) {
		case 0:
			text = ""
		case 1:
			text = "the same"
		case 2:
			text = strings.Repeat("x", random.IntN(3*MaxLine)) + fmt.Sprint(i)
		case 3:
			text = "\xff\x00\x1b[31m " + fmt.Sprint(i)
		}
		lines = append(lines, nodeLine{stamp, text})
	}
	return lines
}

// TestLogsOverBrokenConnections cuts connections at random places and wants each
// line once.
func TestLogsOverBrokenConnections(t *testing.T) {
	for seed := range uint64(6) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			random := rand.New(rand.NewPCG(seed, 1))
			file := &nodeFile{lines: disorderly(random, 300), tail: "last words"}
			cuts := 0
			file.cut = func(int) bool {
				if cuts < 6 && random.IntN(400) == 0 {
					cuts++
					return true
				}
				return false
			}
			server := newAPIServer(t)
			server.log = file.serve
			server.put("jobs", "ADDED", jobObject(conditionObject("Complete", "", "")))
			server.put("pods", "ADDED", endedPod("train-x", 0))
			lines, notes := readLogs(t, server.run(t), LogOptions{Follow: true})
			want := []string{}
			for _, l := range file.lines {
				want = append(want, l.text)
			}
			want = append(want, "last words")
			if !slices.Equal(lines, want) {
				t.Errorf("%d cuts: %s", cuts, firstDifference(lines, want))
			}
			if len(notes) > 0 {
				t.Errorf("notes: %q", notes)
			}
			if cuts > 0 && file.opens < cuts+1 {
				t.Errorf("%d cuts and %d connections", cuts, file.opens)
			}
		})
	}
}

func firstDifference(got, want []string) string {
	for n := range min(len(got), len(want)) {
		if got[n] != want[n] {
			return fmt.Sprintf("line %d is %.60q, not %.60q (%d lines, not %d)", n, got[n], want[n], len(got), len(want))
		}
	}
	return fmt.Sprintf("%d lines, not %d", len(got), len(want))
}

// TestLogsSayWhatIsLost rotates the node's file while the connection is away.
func TestLogsSayWhatIsLost(t *testing.T) {
	at := time.Unix(1_790_000_000, 0).UTC()
	file := &nodeFile{}
	for i := range 10 {
		file.add(at.Add(time.Duration(i)*time.Second), fmt.Sprint("old ", i))
	}
	file.cut = func(sent int) bool {
		if sent < 200 {
			return false
		}
		file.rotate()
		file.mu.Lock()
		file.cut = nil
		file.mu.Unlock()
		file.add(at.Add(time.Minute), "new")
		return true
	}
	server := newAPIServer(t)
	server.log = file.serve
	server.put("jobs", "ADDED", jobObject(conditionObject("Complete", "", "")))
	server.put("pods", "ADDED", endedPod("train-x", 0))
	lines, notes := readLogs(t, server.run(t), LogOptions{Follow: true})
	if len(lines) < 2 || lines[len(lines)-1] != "new" || lines[0] != "old 0" {
		t.Errorf("lines: %q", lines)
	}
	if !slices.Equal(notes, []string{lossText}) {
		t.Errorf("notes: %q", notes)
	}
}

// TestLogsOfManyHosts follows four hosts and reads each one's lines in order.
func TestLogsOfManyHosts(t *testing.T) {
	server := newAPIServer(t)
	server.log = func(w http.ResponseWriter, r *http.Request) {
		host := strings.Split(r.URL.Path, "/")[6]
		for i := range 200 {
			fmt.Fprintf(w, "%s %s says %d\n", time.Unix(1_790_000_000, int64(i)).UTC().Format(stampFormat), host, i)
		}
	}
	job := jobObject(conditionObject("Complete", "", ""))
	job["spec"] = map[string]any{"completions": 4, "completionMode": "Indexed"}
	server.put("jobs", "ADDED", job)
	for i := range 4 {
		p := endedPod(fmt.Sprint("train-", i), 0)
		p["metadata"].(map[string]any)["annotations"] = map[string]any{indexAnnotation: fmt.Sprint(i)}
		server.put("pods", "ADDED", p)
	}
	for _, o := range []LogOptions{{Follow: true}, {}, {Follow: true, Hosts: []Place{{0, 2}}}} {
		next := map[int]int{}
		err := server.run(t).Logs(t.Context(), o, func(l Line) error {
			if want := fmt.Sprintf("train-%d says %d", l.Index, next[l.Index]); l.Text != want {
				t.Errorf("%q, not %q", l.Text, want)
			}
			next[l.Index]++
			return nil
		})
		want := map[int]int{0: 200, 1: 200, 2: 200, 3: 200}
		if len(o.Hosts) > 0 {
			want = map[int]int{2: 200}
		}
		if err != nil || fmt.Sprint(next) != fmt.Sprint(want) {
			t.Errorf("%+v: %v, lines %v", o, err, next)
		}
	}
}

// TestLogsEndWithWritersError stops all hosts when the reader of the lines went away.
func TestLogsEndWithWritersError(t *testing.T) {
	server := newAPIServer(t)
	server.log = (&nodeFile{lines: disorderly(rand.New(rand.NewPCG(1, 1)), 50)}).serve
	server.put("jobs", "ADDED", jobObject())
	server.put("pods", "ADDED", runningPod("train-x"))
	closed := errors.New("the pipe is closed")
	count := 0
	err := server.run(t).Logs(t.Context(), LogOptions{Follow: true}, func(Line) error { count++; return closed })
	if !errors.Is(err, closed) || count != 1 {
		t.Errorf("%v after %d lines", err, count)
	}
}

// TestLogsOfDeletedPod says that the end may be missing.
func TestLogsOfDeletedPod(t *testing.T) {
	server := newAPIServer(t)
	file := &nodeFile{}
	file.add(time.Unix(1_790_000_000, 0).UTC(), "only line")
	pod := runningPod("train-x")
	server.log = func(w http.ResponseWriter, r *http.Request) {
		file.serve(w, r)
		server.put("pods", "DELETED", pod)
		server.put("jobs", "DELETED", jobObject())
	}
	server.put("jobs", "ADDED", jobObject())
	server.put("pods", "ADDED", pod)
	lines, notes := readLogs(t, server.run(t), LogOptions{Follow: true})
	if !slices.Equal(lines, []string{"only line"}) || len(notes) != 1 || !strings.Contains(notes[0], "deleted") {
		t.Errorf("lines %q, notes %q", lines, notes)
	}
}

func TestNodesOwnWords(t *testing.T) {
	server := newAPIServer(t)
	server.log = func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "unable to retrieve container logs for containerd://1")
	}
	server.put("jobs", "ADDED", jobObject(conditionObject("Complete", "", "")))
	server.put("pods", "ADDED", endedPod("train-x", 0))
	lines, notes := readLogs(t, server.run(t), LogOptions{})
	if len(lines) != 0 || len(notes) != 1 || !strings.Contains(notes[0], "unable to retrieve") {
		t.Errorf("lines %q, notes %q", lines, notes)
	}
}
