//go:build linux

// Command bootstrap is process 1 of a job's container: it installs what the
// program needs where that was not done before (prebuilt mode), runs the
// program, and pushes its results. What is asked of it and what it promises is
// in package contract.
//
// What does not live here: how results travel (package results), and anything
// about Kubernetes: all that this program knows of its pod are environment
// variables and files.
//
// It is linked statically and runs in any image, also in one without a shell.
// It is in every image that ibuild makes for a job, so it stays small: no YAML,
// no Kubernetes, no command line library.
package main
