// Package traffic tests what a build asks of the registry and of the builder, where docs/benchmarks.md says that it
// asks nothing or next to nothing: a change of code on a base that is only in the registry, many clients at once, and
// a machine that has built nothing. The benchmarks (integration/cmd/bench) say how long these take; here is asserted
// why they can be fast, which holds on any machine.
//
// It has nothing but tests, with the build tag "integration", which want to be run as root. What a build makes of its
// input is tested by package e2e.
package traffic
