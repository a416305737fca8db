// Package soak says how long the tests of faults run, and which random moments they take. They have a short form, which
// is part of every test run, and a long one, for `make soak`.
//
// It has no test of a fault: those are beside what they test, in package cache, in integration/e2e and in integration/moods.
package soak
