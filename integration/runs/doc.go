// Package runs has the tests of `ibuild run` and of the commands about jobs on
// a real Kubernetes (package kube), whose nodes pull what ibuild has pushed to
// the registry of package testenv. It has no code but tests, with the build tag
// integration. Devices are simulated: no GPU or TPU code runs.
package runs
