// Package launch has the tests of package runner/launch and of `ibuild
// build-image` with the in-process engine and the registry of package testenv:
// images are made, pushed, and run with runc as a pod would run them. It has no
// code but tests, with the build tag integration, and needs no Kubernetes; with
// one, package runs tests the same way.
package launch
