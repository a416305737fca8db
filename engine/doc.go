// Package engine builds plans: it decides what is known already, what has to be solved by a builder and
// what can be put together in this process, and brings the result to its outputs.
//
// What lives here: the builders and the choice between them ([Builders], [Builder]), the order of a build
// ([Engine.Build]), identities and the names made from them, whether an image exists ([Engine.Exists]), the
// code layers that need no builder, the session that serves a solve (credentials, secrets, files), outputs and
// progress.
// What does not: BuildKit's server side (engine/embed), how remote builders are reached (engine/remote),
// HTTP to registries (registry), the meaning of a source (frontends), and flags (cmd).
package engine
