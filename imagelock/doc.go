// Package imagelock reads and writes ibuild.lock, the file next to a source that pins the base and helper
// images of builds to digests.
//
// The format is TOML, one table per image, sorted by name, so that a diff shows which image moved:
//
//	version = 1
//
//	[images]
//	[images.'docker.io/library/python:3.12-slim-bookworm']
//	digest = 'sha256:…'
//	sources = ['image.yaml', 'train.py']
//
// A name is canonical: with its registry and its tag. All sources of a folder share one file and one digest per
// name; sources says which of them use it, so that an entry goes when nobody does.
//
// What does not live here: which images a build needs and what their tags point to (engine), and when the file
// is read or written (cmd).
package imagelock
