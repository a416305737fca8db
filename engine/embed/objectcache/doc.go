// Package objectcache has the remote caches of builds that are kept as objects: in S3 and in the cache of GitHub
// Actions. The layout is BuildKit's, so that its builders and ibuild share them: a document that says which step's
// result is which layers, and the layers, each under its digest.
//
// BuildKit has both, too. Those link the SDK of S3 and the verification of signatures by sigstore, whose package
// initialization would double the time that each start of ibuild takes (docs/remote-cache.md has the figures). What is
// here speaks S3 itself, signed by the SDK's signer, and leaves GitHub's protocol to the client library that BuildKit
// uses.
//
// What does not live here: the reading of --cache-from and --cache-to (cmd/ibuild), and what is told of them (engine).
package objectcache
