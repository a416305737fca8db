// Package bootstrap carries the program that runs in a job's container, for
// each architecture that images are made for.
//
// What lives here: the programs, as ibuild was built with them, and the way out
// of ibuild into a file. What does not: the program itself (package main in
// program), what it is asked (package contract), and how it gets into an image
// (package launch).
//
//	program/    package main ── pack/ (go run) ──▶ programs/linux-ARCH.zst ── go:embed ──▶ File
//	contract/   what ibuild and the program say to each other
//	results/    how results travel
//
// The programs are generated: `make` does it before it builds ibuild, and so
// does `go generate ./runner/bootstrap`. They are not in the repository. An
// ibuild that was built without them (go install, go build on a clean checkout)
// is complete but for jobs, and says so: [MissingError].
//
// They cost a start of ibuild nothing: an embedded file is not read before
// somebody asks for it.
package bootstrap

//go:generate go run ./pack
