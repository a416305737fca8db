// Package cuda decides how CUDA and cuDNN get into an image: through Python wheels on a base without
// them, or not at all on a base that has them. It checks the wish of a spec against the pins of torch,
// jax and tensorflow, and against what a base image's tag says.
//
// The facts are tables in Go, each with the source that it was read from. They age: what is newer than
// a table is a warning and goes through, what the makers say cannot be is an error.
//
// What does not live here: reading specs, installing anything, networks, the choice of a TensorFlow
// parent image (package tensorflow).
package cuda
