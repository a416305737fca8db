package main

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"testing"
	"time"
)

// collector is how garbage is collected: the percentage, the limit in bytes, and how often it was.
func collector() (percent, limit, count uint64) {
	list := []metrics.Sample{{Name: "/gc/gogc:percent"}, {Name: "/gc/gomemlimit:bytes"}, {Name: "/gc/cycles/total:gc-cycles"}}
	metrics.Read(list)
	return list[0].Value.Uint64(), list[1].Value.Uint64(), list[2].Value.Uint64()
}

func TestCollectLate(t *testing.T) {
	t.Setenv("GOGC", "")
	t.Setenv("GOMEMLIMIT", "")
	percent, limit := debug.SetGCPercent(100), debug.SetMemoryLimit(1<<40)
	t.Cleanup(func() { debug.SetGCPercent(percent); debug.SetMemoryLimit(limit) })
	runtime.GC()
	debug.FreeOSMemory()
	_, _, before := collector()

	collectLate()
	var garbage []byte
	for range 16 {
		garbage = make([]byte, 1<<20)
	}
	if _, _, now := collector(); now != before {
		t.Errorf("%d collections within 16 MiB, want none", now-before)
	}
	for range 2 * firstCollection >> 20 {
		garbage = make([]byte, 1<<20)
	}
	runtime.KeepAlive(garbage)
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		p, l, now := collector()
		if p == 100 && l == 1<<40 && now > before {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%d%%, %d bytes, %d collections after twice the limit, want what was set before", p, l, now-before)
		}
	}
}

func TestCollectAsTheUserSays(t *testing.T) {
	for _, name := range []string{"GOGC", "GOMEMLIMIT"} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("GOGC", "")
			t.Setenv("GOMEMLIMIT", "")
			t.Setenv(name, "100") // what Go makes of it was read when the process began
			percent, limit, _ := collector()
			collectLate()
			if p, l, _ := collector(); p != percent || l != limit {
				t.Errorf("%d%%, %d bytes, want %d%%, %d bytes", p, l, percent, limit)
			}
		})
	}
}
