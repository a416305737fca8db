// Package condachannel makes a small conda channel for tests, where the public
// channels cannot be reached: a few packages, a Python that is the image's own among them, as .conda
// files, with the index of each subdir, and a pixi.lock that names them.
//
// It only makes bytes, the same ones every time. Package testenv serves them.
package condachannel
