//go:build integration

package moods

import (
	"net/http"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ibuild/ibuild/integration/soak"
)

// said is what a client says.
type said struct {
	mu    sync.Mutex
	lines []string
}

func (s *said) add(line string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lines = append(s.lines, time.Now().Format("05.000 ")+line)
}

func (s *said) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.lines, "\n")
}

func (s *said) has(secret string) bool { return strings.Contains(s.String(), secret) }

// tally counts how often each mood was met.
type tally struct {
	mu  sync.Mutex
	met map[string]int
}

func newTally() *tally { return &tally{met: map[string]int{}} }

func (m *tally) add(names []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, name := range names {
		m.met[name]++
	}
}

// check fails when the rounds met too few moods to mean anything; in the long form, when one of them was never met.
func (m *tally) check(t *testing.T, way Way, plan soak.Plan) {
	t.Helper()
	sum := 0
	for _, n := range m.met {
		sum += n
	}
	t.Logf("%d rounds met %d moods, %d different ones", plan.Runs, sum, len(m.met))
	if sum < plan.Runs/2 {
		t.Errorf("%d rounds met %d moods", plan.Runs, sum)
	}
	for _, mood := range All() {
		if plan.Runs >= 300 && mood.Way&way != 0 && m.met[mood.Name] == 0 {
			t.Errorf("never met: %s", mood.Name)
		}
	}
}

// used are goroutines and open files of this process.
type used struct{ goroutines, files int }

func resources(t *testing.T) used {
	t.Helper()
	http.DefaultClient.CloseIdleConnections()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return used{runtime.NumGoroutine(), len(list)}
}

// check fails when more is used than before, after some seconds in which connections that nobody uses may end.
func (u used) check(t *testing.T) {
	t.Helper()
	const some = 90 // idle connections of the environment and of the client past the proxies, up to 16 each, with both ends
	var now used
	for range 50 {
		if now = resources(t); now.goroutines <= u.goroutines+some && now.files <= u.files+some {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	stacks := make([]byte, 1<<20)
	t.Errorf("used before: %+v, after: %+v\n%s", u, now, stacks[:runtime.Stack(stacks, true)])
}
