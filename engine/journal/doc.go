// Package journal keeps what builds did, and says why.
//
// What lives here: the record of a build ([Build]) with its steps and the outline of its graph, writing and
// finding records ([Journal]), the steps as progress tells them ([Steps]), and their picture ([WriteTimeline]).
// It is a package of its own because two sides use it that need nothing of each other: the engine, which
// writes one record at the end of each build, and the commands that read them and never build.
//
// What does not: how two graphs are compared (llb), where records are (cache), the moment at which a build is
// recorded (engine), and what people are shown of it (cmd).
//
// A record has no secret and nothing of the caller's environment: texts of the graph go through a mask, files
// are there by path and digest, secrets by their ids, and step output is not kept at all. Records may be lost,
// and nothing that goes wrong with them is an error of a build.
package journal
