// Package e2e tests the ibuild command from its flags to the images that come out: every example of the
// examples folder, bad input, outputs, the cache, cancellation. The same cases run against the in-process
// engine as root and as an ordinary user, and against a remote rootless buildkitd with mutual TLS.
//
// It has nothing but tests, with the build tag "integration". They start an environment of package testenv
// once and want to be run as root, which alone can be both users and can run images.
package e2e
