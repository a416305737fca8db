// Package registry is ibuild's way to image registries and image formats, and
// the only package that imports go-containerregistry.
//
// What lives here: resolving references to images (with mirrors, and with
// manifests and configs kept in the cache by digest), asking whether something
// is there, pushing what ibuild makes itself, making layers and images out of
// files and a base image without a builder, copying images between registries,
// OCI layouts and archives of OCI and docker, and credentials.
//
// What does not: deciding what is built or pushed, BuildKit's own pushes and
// pulls, and running anything.
//
// The network is not trusted. All that is read is limited in size and verified
// against the digest it was asked for by; credentials and tokens go to the
// registry they belong to (and to its own token server), never to where a
// redirect, a Location or a challenge points; and errors carry no URLs with
// queries, no headers, and no unprintable text of a server's answer.
//
// What is made here is the same bytes for the same inputs: sorted, no clock, no
// host name.
//
// How a request goes through the files:
//
//	client.go     Client, one endpoint (with its own transport) per host
//	reference.go  names; mirrors and the host itself, in order
//	fetch.go      HEAD and GET of manifests: cache first, then endpoints
//	download.go   blobs, which go on after a cut; verified.go  what they have to be
//	resolve.go    reference + platform -> Image
//	manifest.go   decoding what came from the network, with limits
//	push.go       blobs, manifests, then tags; upload.go  the requests that this takes, for one repository
//	upload_blob.go  one blob: what to do next, and after a failure; growing.go  one that is still being made
//	session.go    the requests of one upload; upload_body.go  what they send; upload_gate.go  how much at a time
//	profile.go    what is known of hosts; tokens.go  how long a token is good; traffic.go  what is counted
//	transport.go  scheme, credential guard, limits; retry.go; tls.go
//	source.go     an image somewhere; layout.go, dockerarchive.go  in a folder or archive, which is not trusted
//	parcel.go     all or a part of it, ready to go: by push.go, copy.go, layoutwrite.go, archive.go
//	artifact.go   documents beside images, in their index
//	layer.go, assemble.go, config.go  making images
//	errors.go     what callers branch on
package registry
