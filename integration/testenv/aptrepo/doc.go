// Package aptrepo makes a small repository of Debian packages for tests: one
// package for all architectures, in a flat repository without signatures, which
// a source with [trusted=yes] accepts.
package aptrepo
