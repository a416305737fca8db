// Package llb turns what a frontend asks for into BuildKit LLB, without a builder.
//
// What lives here: the vocabulary of steps ([Image], [Step]) and their lowering to one LLB graph per
// platform, the image config that goes with it, the [Recorder] that runs any BuildKit build function
// and records what it would ask a builder to do, the [Recording] with its canonical form (identity,
// JSON, dot), and the pure rewriting of a definition for the machine it is built on ([Machine]).
//
// What does not: no network and no builder. Base images are resolved through the [Resolver] that the
// caller passes in; files are read only to serve and to digest local sources, and what is learned of them
// goes to the [FileMemory] that the caller passes in. Nothing of ibuild's own
// packages is imported.
//
// In this package "bk" is BuildKit's client/llb.
package llb
