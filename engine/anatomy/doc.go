// Package anatomy takes images apart, to show them and to compare them.
//
// What lives here: reading the manifests, configs and histories of an image from a registry, an OCI layout in a
// folder or in an archive, or the cache ([Source], [Read]), and comparing two images layer by layer and file by
// file ([Compare]).
//
// What does not: requests to registries and credentials (registry), making images (registry, engine), what a
// build was made of (engine/journal), and what people are shown of an image (cmd).
//
// All that is read may be somebody else's work: documents, numbers of files and unpacked sizes are bounded,
// bytes are verified against their digests, and nothing is unpacked to a disk.
package anatomy
