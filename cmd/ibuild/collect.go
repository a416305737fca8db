package main

import (
	"os"
	"runtime"
	"runtime/debug"
)

// firstCollection is how much memory, in bytes, the program takes before garbage is collected for the first time.
const firstCollection = 64 << 20

// collectLate puts the first collection off. Most builds find everything known and end with a few megabytes; a
// fifth of their time would go into collections, which begin at 4 MiB and start threads of their own. A build that
// needs more has its first collection at the limit, and from then on all is as Go does it by default: off and with a
// limit alone, the collector would run all the time. Who sets GOGC or GOMEMLIMIT knows better.
func collectLate() {
	if os.Getenv("GOGC") != "" || os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	percent, limit := debug.SetGCPercent(-1), debug.SetMemoryLimit(firstCollection)
	unused := new(*byte) // the first collection finds it
	runtime.AddCleanup(unused, func(struct{}) {
		debug.SetGCPercent(percent)
		debug.SetMemoryLimit(limit)
	}, struct{}{})
}
