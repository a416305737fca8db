package engine

import (
	"bytes"
	"errors"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/ibuild/ibuild/registry"
	"github.com/moby/buildkit/client"
	"github.com/moby/buildkit/util/progress/progressui"
)

// line is an upload over a line that takes 10 MB/s: 100 MB are there already, 60 MB are not.
type line struct {
	mu sync.Mutex
	t  registry.Transferred
}

func (l *line) change(f func(t *registry.Transferred)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f(&l.t)
}

func (l *line) now() registry.Transferred {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.t
}

// begin takes half of that, so that nothing happens at the same moment as a look at it.
func (l *line) begin() {
	time.Sleep(50 * time.Millisecond)
	l.change(func(t *registry.Transferred) {
		t.There, t.Total, t.Settled = registry.Tally{Blobs: 3, Bytes: 100e6}, 160e6, 100e6
	})
}

// send takes a tenth of a second for each MB.
func (l *line) send(megabytes int) {
	for range megabytes {
		time.Sleep(100 * time.Millisecond)
		l.change(func(t *registry.Transferred) { t.Sent, t.Settled = t.Sent+1e6, t.Settled+1e6 })
	}
}

func (l *line) end() {
	l.change(func(t *registry.Transferred) { t.Moved = registry.Tally{Blobs: 2, Bytes: t.Sent} })
}

// all is the whole upload, 6 s.
func (l *line) all() error {
	l.begin()
	l.send(60)
	l.end()
	return nil
}

// plain is what BuildKit's display for logs shows of a transfer.
func plain(t *testing.T, do func(l *line) error) (text string, err error) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		d, e := progressui.NewDisplay(&out, progressui.PlainMode)
		check(t, e)
		p, l, done := NewProgress(), &line{}, make(chan struct{})
		go func() {
			defer close(done)
			_, _ = d.UpdateFrom(t.Context(), p.Statuses())
		}()
		_, err = p.transfer("push r.example/app", l.now, func() error { return do(l) })
		p.Close()
		<-done
		text = out.String()
	})
	return text, err
}

func TestTransferInALog(t *testing.T) {
	for name, c := range map[string]struct {
		do   func(l *line) error
		want string
	}{
		"long": {(*line).all, `#1 push r.example/app
#1 2.000 19.0 MB of 60.0 MB, 9.5 MB/s, 5 s left
#1 5.000 49.0 MB of 60.0 MB, 9.8 MB/s, 2 s left
#1 6.050 pushed 60.0 MB in 6.0 s (9.9 MB/s); 3 blobs (100 MB) were there
#1 DONE 6.0s
`},
		"short": {func(l *line) error { l.begin(); l.send(19); l.end(); return nil }, `#1 push r.example/app
#1 1.950 pushed 19.0 MB in 1.9 s (9.7 MB/s); 3 blobs (100 MB) were there
#1 DONE 1.9s
`},
		"nothing to send": {func(l *line) error { l.begin(); return nil }, `#1 push r.example/app
#1 0.050 nothing to send: 3 blobs (100 MB) were there
#1 DONE 0.1s
`},
		"failed": {func(l *line) error { l.begin(); l.send(30); return errors.New("the registry is gone") }, `#1 push r.example/app
#1 2.000 19.0 MB of 60.0 MB, 9.5 MB/s, 5 s left
#1 ERROR: the registry is gone
------
 > push r.example/app:
2.000 19.0 MB of 60.0 MB, 9.5 MB/s, 5 s left
------
`},
		"nothing": {func(*line) error { return nil }, "#1 push r.example/app\n#1 DONE 0.0s\n"},
		"while layers are made": {func(l *line) error {
			l.begin()
			l.change(func(t *registry.Transferred) { *t = registry.Transferred{Growing: true, Total: 50e6} })
			l.send(25)
			l.change(func(t *registry.Transferred) { t.Growing = false })
			return nil
		}, `#1 push r.example/app
#1 2.000 19.0 MB, while layers are made, 9.5 MB/s
#1 2.550 pushed 25.0 MB in 2.5 s (9.8 MB/s)
#1 DONE 2.5s
`},
	} {
		t.Run(name, func(t *testing.T) {
			got, _ := plain(t, c.do)
			if d := cmp.Diff(c.want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

// statuses is what a display is shown of a transfer.
func statuses(t *testing.T, look Look, do func(l *line) error) (list []*client.SolveStatus) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		p, l := NewProgressFor(look), &line{}
		all := collect(t, p)
		_, err := p.transfer("push r.example/app", l.now, func() error { return do(l) })
		check(t, err)
		p.Close()
		list = all()
	})
	return list
}

// TestTransferOnATerminal: the newest figures are in the step's name while it runs, and its line is that of a step
// after it; bytes have a line of their own.
func TestTransferOnATerminal(t *testing.T) {
	list := statuses(t, LookTerminal, (*line).all)
	if n := len(list); n < 28 || n > 32 {
		t.Fatalf("%d statuses in 6 s", n)
	}
	var names []string
	for _, s := range list {
		names = append(names, s.Vertexes[0].Name)
	}
	for _, at := range []int{5, 25} { // 1 s and 5 s
		if !regexp.MustCompile(`^push r\.example/app: (9\.\d|10\.\d) MB/s, \d s left$`).MatchString(names[at]) {
			t.Errorf("at %d: %q", at, names[at])
		}
	}
	last := list[len(list)-1]
	if first := names[0]; first != "push r.example/app" || last.Vertexes[0].Name != first || last.Vertexes[0].Completed == nil {
		t.Errorf("began as %q, ended as %+v", first, last.Vertexes[0])
	}
	if b := list[10].Statuses[0]; b.Total != 60e6 || b.Current < 15e6 || b.Current > 25e6 || b.Completed != nil {
		t.Errorf("at 2 s: %+v", b)
	}
	if len(last.Statuses) != 2 || last.Statuses[0].Completed == nil || last.Statuses[0].Current != 60e6 ||
		last.Statuses[1].ID != "pushed 60.0 MB in 6.0 s (9.9 MB/s); 3 blobs (100 MB) were there" || last.Statuses[1].Completed == nil {
		t.Errorf("the end: %+v", last.Statuses)
	}
}

// TestTransferForPrograms: numbers, under a name that stays.
func TestTransferForPrograms(t *testing.T) {
	seen := map[string]bool{}
	bytes := 0
	for _, s := range statuses(t, LookNumbers, (*line).all) {
		for _, v := range s.Vertexes {
			seen[v.Name] = true
		}
		bytes += len(s.Statuses)
	}
	if len(seen) != 1 || bytes < 28 {
		t.Errorf("%v, %d", seen, bytes)
	}
}

// TestShortTransfersCostNothing: one that is over before anybody could look is shown as a step, and no goroutine is begun.
func TestShortTransfersCostNothing(t *testing.T) {
	for _, look := range []Look{LookLines, LookTerminal, LookNumbers} {
		list := statuses(t, look, func(l *line) error { l.begin(); time.Sleep(149 * time.Millisecond); return nil })
		looked := 0
		for _, s := range list {
			for _, st := range s.Statuses {
				if st.Total > 0 {
					looked++
				}
			}
		}
		if looked > 0 || len(list) > 3 {
			t.Errorf("%v: %d of %d", look, looked, len(list))
		}
	}
	p := NewProgress()
	go func() {
		for range p.Statuses() {
		}
	}()
	nothing := func() error { return nil }
	step := testing.AllocsPerRun(100, func() { _ = p.Step("push", nothing) })
	transfer := testing.AllocsPerRun(100, func() { _, _ = p.Transfer("push", func(*registry.Traffic) error { return nil }) })
	if transfer > step+16 {
		t.Errorf("%v allocations, and %v for a step", transfer, step)
	}
	p.Close()
}

func TestSummary(t *testing.T) {
	tally := func(blobs int, bytes int64) registry.Tally { return registry.Tally{Blobs: blobs, Bytes: bytes} }
	for _, c := range []struct {
		t             registry.Transferred
		took          time.Duration
		want, network string
	}{
		{registry.Transferred{Sent: 412e6, Moved: tally(3, 412e6), There: tally(8, 1.2e9), Mounted: tally(2, 330e6)}, 5100 * time.Millisecond,
			"pushed 412 MB in 5.1 s (80.8 MB/s); 8 blobs (1.2 GB) were there, 2 (330 MB) mounted",
			"412 MB sent, 1.5 GB spared: 8 blobs (1.2 GB) were there, 2 (330 MB) mounted"},
		{registry.Transferred{Mounted: tally(1, 5e6)}, time.Second, "nothing to send: 1 blob (5.0 MB) was mounted", "5.0 MB spared: 1 blob (5.0 MB) was mounted"},
		{registry.Transferred{There: tally(1, 700)}, time.Second, "nothing to send: 1 blob (700 B) was there", "700 B spared: 1 blob (700 B) was there"},
		{registry.Transferred{Sent: 700, Moved: tally(1, 700)}, 20 * time.Millisecond, "pushed 700 B in 0.0 s", "700 B sent"},
		{registry.Transferred{Sent: 50e6, Fetched: 50e6, Moved: tally(1, 50e6)}, 2 * time.Minute, "fetched 50.0 MB, pushed 50.0 MB in 2 min (417 kB/s)", "50.0 MB fetched, 50.0 MB sent"},
		{registry.Transferred{}, time.Second, "", ""},
	} {
		if got := Summary(c.t, c.took); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
		if got := Network(c.t); got != c.network {
			t.Errorf("%q, want %q", got, c.network)
		}
	}
}

func TestPace(t *testing.T) {
	for _, c := range []struct {
		left, rate int64
		want       string
	}{{10e6, 0, ""}, {10e6, 3e6, "3.0 MB/s, 4 s left"}, {1 << 60, 1, "1 B/s, days left"}, {0, 5, "5 B/s"}} {
		if got := paceText(registry.Transferred{Total: 100 + c.left, Settled: 100}, c.rate); got != c.want {
			t.Errorf("%d at %d: %q", c.left, c.rate, got)
		}
	}
}

func TestSpell(t *testing.T) {
	for d, want := range map[time.Duration]string{0: "0 s", 1500 * time.Millisecond: "1.5 s", 99 * time.Second: "99 s", 100 * time.Second: "2 min", 3 * time.Hour: "3 h", 1000 * time.Hour: "days"} {
		if got := spell(d); got != want {
			t.Errorf("%v: %q", d, got)
		}
	}
}

// TestSpeedOfLate: what was long ago is not in the speed.
func TestSpeedOfLate(t *testing.T) {
	var s speed
	at, sent := time.Unix(0, 0), int64(0)
	for i := range 200 {
		s.see(at, registry.Transferred{Sent: sent})
		at = at.Add(100 * time.Millisecond)
		if sent += 10e6; i >= 100 {
			sent -= 9e6
		}
	}
	if got := s.rate(); got != 10e6 || len(s.seen) > 60 {
		t.Errorf("%d of %d", got, len(s.seen))
	}
	if got := (&speed{}).rate(); got != 0 {
		t.Errorf("nothing seen: %d", got)
	}
}

// TestTransfersOfABuild: what is shown and what is not are summed up; what a builder moves by itself makes the sum unknown.
func TestTransfersOfABuild(t *testing.T) {
	p := NewProgress()
	all := collect(t, p)
	b := &build{Engine: &Engine{Progress: p}}
	failed := errors.New("failed")
	for _, err := range []error{nil, failed} {
		if got := b.transfer("push", func(t *registry.Traffic) error { t.Has(100); return err }); got != err {
			t.Error(got)
		}
	}
	b.moved.aside.Has(1)
	p.Close()
	if got := b.moved.total(); got == nil || got.There != (registry.Tally{Blobs: 3, Bytes: 201}) || got.Total != 201 {
		t.Errorf("%+v", got)
	}
	if list := all(); !strings.Contains(list[len(list)-1].Vertexes[0].Error, "failed") {
		t.Error("the failure is not shown")
	}
	b.moved.uncounted()
	if b.moved.total() != nil || b.moved.counted().Total != 201 {
		t.Error("it is known")
	}
}

// TestResultSaysWhatMoved: the layers of an environment that a repository has are spared, and counted so.
func TestResultSaysWhatMoved(t *testing.T) {
	f := newFixture(t)
	f.engine.Mask = hideCanary
	f.base()
	req := f.app("app:1")
	f.know(req, "etc/", "usr/")
	res := f.must(req, HowAssembled)
	layers, err := f.image(t, f.host+"/app:1", amd64).Layers()
	check(t, err)
	var all int64
	for _, l := range layers {
		size, err := l.Size()
		check(t, err)
		all += size
	}
	got := res.Transferred
	if got == nil || got.There.Blobs == 0 || got.Moved.Blobs == 0 || got.Sent < got.Moved.Bytes || got.Settled != got.Total {
		t.Fatalf("%+v", got)
	}
	config, err := f.image(t, f.host+"/app:1", amd64).RawConfigFile()
	check(t, err)
	if sum := got.There.Bytes + got.Moved.Bytes; sum != all+int64(len(config)) {
		t.Errorf("%d bytes are accounted for, of %d", sum, all+int64(len(config)))
	}
	if b := f.last(); b.Sent != got.Sent {
		t.Errorf("the record has %d bytes, not %d", b.Sent, got.Sent)
	}
	if again := f.must(req, HowKnown).Transferred; again == nil || *again != (registry.Transferred{}) {
		t.Errorf("nothing was moved, but %+v", again)
	}
	req.Outputs.Names = f.names("app:2")
	if again := f.must(req, HowKnown).Transferred; again == nil || again.Sent != 0 {
		t.Errorf("a further name: %+v", again)
	}
}
