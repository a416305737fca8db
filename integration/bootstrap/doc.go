// Package bootstrap holds the tests of the bootstrap that need more than files:
// process namespaces, in which it is process 1, other users, and uv with a
// package index. They need root, as the tests of all that starts containers.
//
// What does not live here: the tests of the program's own behaviour (beside its
// code), and jobs in a cluster (integration/e2e).
package bootstrap
