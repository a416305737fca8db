// Package imagetest looks into images on behalf of tests: which files and
// which settings they have, how two of them differ, and what they do when they
// run.
//
// It reads images with go-containerregistry and unpacks them with containerd,
// not with code of ibuild, so that ibuild is not checked against itself. A
// Store is for those who look at many images: it reads each layer once.
package imagetest
