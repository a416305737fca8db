// Package pyindex makes a small Python package index for tests, with packages
// that no public index has, and serves it as installers ask for it (PEP 503
// and PEP 691). All packages are pure Python and depend on nothing.
//
// It knows nothing of ports, passwords or certificates: those are package
// testenv's.
package pyindex
