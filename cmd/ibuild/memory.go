package main

import (
	"math"
	"os"
	"runtime"
	"runtime/debug"
)

const (
	heapGoal = 100 << 20 // bytes that a build may use before anything is collected
	heapLive = 50 << 20  // bytes in use from which on Go's usual rule holds again
)

// tuneMemory lets the heap grow to heapGoal before the first collection. A build is a short process with
// a small live heap, in which Go collects every few megabytes: that took a quarter of a cold build's time
// (docs/benchmarks.md). When a build really needs much memory, Go's usual rule comes back, so that the
// limit never makes it collect without end. GOGC and GOMEMLIMIT in the environment win.
func tuneMemory() {
	if os.Getenv("GOGC") != "" || os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	debug.SetGCPercent(-1)
	debug.SetMemoryLimit(heapGoal)
	watchHeap()
}

// watchHeap looks at the live heap after each collection, by means of an object that each one finds dead.
func watchHeap() {
	runtime.SetFinalizer(new([16]byte), func(*[16]byte) {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		if m.HeapAlloc > heapLive {
			debug.SetGCPercent(100)
			debug.SetMemoryLimit(math.MaxInt64)
			return
		}
		watchHeap()
	})
}
