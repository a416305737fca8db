// Package tensorflow finds the parent image of a TensorFlow program where a spec names none: the rule of
// tensorflow_cloud's DockerConfig, made whole. What the user names wins, then Kaggle's image, then the
// official image of the version that the caller names, that requirements pin, or that is installed
// locally, then the newest.
//
// What does not live here: reading the local environment, asking a registry whether a tag exists, CUDA
// on bases without it (package cuda).
package tensorflow
