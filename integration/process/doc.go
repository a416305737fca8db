// Package process runs the programs of the tests' environments in the
// background: they have their output in a file, die with the process that
// started them, however it dies, and leave no child behind when stopped.
//
// What the programs are, and when they are ready, is the business of packages
// testenv and kube.
package process
