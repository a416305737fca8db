// Package frontends finds out what a source is and has the right frontend make a plan of it: a Dockerfile, an
// image spec, a uv script or a notebook.
//
// What lives here: the list of frontends ([All]), detection ([Read]: every command asks it what its argument is),
// and the options that all of them get. What does not: the parsing of any source (the packages below), builders,
// registries and flags.
//
// A new frontend is a package below this one with a function from source.Source to *llb.Plan, and one entry in
// [All]; docs/architecture.md has the four steps.
package frontends
