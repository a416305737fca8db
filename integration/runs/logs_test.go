//go:build integration

package runs

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ibuild/ibuild/runner/gke"
)

// gathered are the lines that Logs handed on.
type gathered struct {
	lines map[int][]string // by host
	notes []string
	more  map[int]string
}

func gather(t *testing.T, run *gke.Run, o gke.LogOptions, each func()) *gathered {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), ending)
	defer cancel()
	g := &gathered{lines: map[int][]string{}, more: map[int]string{}}
	err := run.Logs(ctx, o, func(l gke.Line) error {
		each()
		switch {
		case l.Note:
			g.notes = append(g.notes, l.Text)
		case l.More:
			g.more[l.Index] += l.Text
		default:
			g.lines[l.Index] = append(g.lines[l.Index], g.more[l.Index]+l.Text)
			g.more[l.Index] = ""
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// numbered says whether a host's lines are NAME 0, NAME 1, … NAME n-1.
func numbered(t *testing.T, lines []string, name string, n int) {
	t.Helper()
	for i, l := range lines {
		if want := fmt.Sprintf("%s %d", name, i); l != want {
			t.Fatalf("line %d of %d is %.80q, not %q", i, len(lines), l, want)
		}
	}
	if len(lines) != n {
		t.Errorf("%d lines of %d", len(lines), n)
	}
}

const counting = `n=0; while [ $n -lt %d ]; do echo "line $n"; n=$((n+1)); [ $((n %% 5000)) = 0 ] && sleep 0.5; done`

// TestLogsWhileConnectionsAreCut follows a program that writes about 10,000
// lines a second, over connections that are cut again and again.
func TestLogsWhileConnectionsAreCut(t *testing.T) {
	cutter, err := shared.cluster.Cutter()
	if err != nil {
		t.Fatal(err)
	}
	file, err := cutter.Kubeconfig("reader", "system:masters")
	if err != nil {
		t.Fatal(err)
	}
	const n = 50_000
	run := submit(t, as(t, file), shell(t, fmt.Sprintf(counting, n)))
	stop := make(chan struct{})
	cuts := 0
	go func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(time.Second):
				cutter.Cut()
				cuts++
			}
		}
	}()
	g := gather(t, run, gke.LogOptions{Follow: true}, func() {})
	close(stop)
	numbered(t, g.lines[0], "line", n)
	if len(g.notes) > 0 {
		t.Errorf("%d cuts; notes: %q", cuts, g.notes)
	}
	t.Logf("%d cuts", cuts)
}

// TestLogsOfEndedJob reads what is there: all of it, its end, and what the
// node made of bytes that are no text and of long lines. The sleeps are there
// as a kubelet joins parts of a line with what comes on the other output between
// them.
func TestLogsOfEndedJob(t *testing.T) {
	run := submit(t, as(t, shared.cluster.Admin), shell(t, `echo first; printf 'a\377b\000c\n'; echo; head -c 200000 /dev/zero | tr '\0' x; echo; sleep 1; echo error >&2; sleep 1; printf end`))
	watch(t, run, gke.Deadlines{}).wait(t)
	g := gather(t, run, gke.LogOptions{}, func() {})
	want := []string{"first", "a\xffb\x00c", "", strings.Repeat("x", 200_000), "error", "end"}
	if len(g.lines[0]) != len(want) {
		t.Fatalf("%d lines: %.300q", len(g.lines[0]), g.lines[0])
	}
	rest := map[string]int{} // the two outputs are written down by two threads
	for _, l := range g.lines[0] {
		rest[l]++
	}
	for _, l := range want {
		if rest[l] != 1 {
			t.Errorf("%.20q is there %d times", l, rest[l])
		}
	}
	if g := gather(t, run, gke.LogOptions{Tail: 1}, func() {}); len(g.lines[0]) != 1 {
		t.Errorf("the last line: %.100q", g.lines[0])
	}
	if g := gather(t, run, gke.LogOptions{Hosts: []gke.Place{{Index: 3}}}, func() {}); len(g.lines) != 0 {
		t.Errorf("another host: %v", g.lines)
	}
}

// TestLogsThatAreRotated writes four times of what a node keeps. A reader that is
// fast enough has all of it; to one that is slow, what is missing is said.
func TestLogsThatAreRotated(t *testing.T) {
	t.Run("fast", func(t *testing.T) {
		t.Parallel()
		if holes, notes := rotated(t, 0); holes+notes > 0 {
			t.Errorf("%d holes, %d notes", holes, notes)
		}
	})
	t.Run("slow", func(t *testing.T) {
		t.Parallel()
		if holes, notes := rotated(t, time.Millisecond); notes < holes {
			t.Errorf("%d holes, and only %d notes", holes, notes)
		}
	})
}

// rotated reads 40 MB that are written in about 40 s, and waits after each line in
// most of that time. It counts where lines are missing, and where that is said.
func rotated(t *testing.T, pause time.Duration) (holes, notes int) {
	const n = 400_000
	run := submit(t, as(t, shared.cluster.Admin), shell(t, fmt.Sprintf(
		`x=$(head -c 80 /dev/zero | tr '\0' x); n=0; while [ $n -lt %d ]; do echo "line $n $x"; n=$((n+1)); [ $((n %% 5000)) = 0 ] && sleep 0.4; done`, n)))
	begin := time.Now()
	g := gather(t, run, gke.LogOptions{Follow: true}, func() {
		if pause > 0 && time.Since(begin) < 35*time.Second {
			time.Sleep(pause)
		}
	})
	var runs []string // of lines without a hole
	first, next := 0, 0
	for _, l := range append(g.lines[0], fmt.Sprintf("line %d ", n+1)) {
		var at int
		if _, err := fmt.Sscanf(l, "line %d ", &at); err != nil {
			t.Fatalf("%.60q after line %d", l, next-1)
		}
		if at != next {
			runs = append(runs, fmt.Sprintf("%d-%d", first, next-1))
			first = at
		}
		if at < next {
			t.Errorf("line %d came after line %d", at, next-1)
		}
		if at > next && at <= n || next < n && at > n {
			holes++
		}
		next = at + 1
	}
	t.Logf("%d of %d lines, %s, notes %q", len(g.lines[0]), n, runs, g.notes)
	return holes, len(g.notes)
}

// TestLogsOfTwoAttempts reads the first pod's lines before the second one's.
func TestLogsOfTwoAttempts(t *testing.T) {
	j := shell(t, `echo once; exit 1`)
	j.Retries = 1
	run := submit(t, as(t, shared.cluster.Admin), j)
	g := gather(t, run, gke.LogOptions{Follow: true}, func() {})
	if len(g.lines[0]) != 2 {
		t.Errorf("%q, notes %q", g.lines[0], g.notes)
	}
	s, err := run.State(t.Context())
	if err != nil || s.Phase != gke.Failed || s.Attempt != 2 || !strings.HasPrefix(s.Message, "2 attempts failed") {
		t.Errorf("%+v, %v", s, err)
	}
	report, err := run.Debug(t.Context())
	if err != nil || len(report.Hosts) != 1 || strings.Join(report.Hosts[0].LastLines, " ") != "once" || len(report.Events) == 0 || len(report.Unread) > 0 {
		t.Errorf("%+v, %v", report, err)
	}
}
