// Package settings is the user's configuration file, and what the machine says about how networks are
// reached from it.
//
// [Load] reads ibuild's own file: registries (with the keys of buildkitd.toml), the remote builder, the
// in-process engine, package indexes. It is strict: a key that it does not know, a value of the wrong
// kind, a file that is not there are errors with a place. [Config.BuildkitdTOML] is the part that a
// remote buildkitd has to be told by whoever runs it.
//
// [Detect] gathers what build steps need to reach package indexes: proxies, the indexes of pip and uv, CA
// certificates, apt's proxies and mirrors. For each setting the first source that has it wins: ibuild's
// file, then environment variables, then the tools' own files. The result, an [llb.Machine], travels to
// the steps as secrets. Passwords in URLs are carried there and nowhere else: notes and errors have "***"
// in place of everything between "//" and "@", and of queries.
//
// What the machine says and a step cannot use is left out, with a note: paths of this machine as indexes,
// uv's explicit and flat indexes, apt's repositories of third parties. A file of pip's or uv's that its
// tool could not read either is an error and not left out, because steps would go on with public indexes
// where private ones are meant.
//
// CA certificates are carried whole: the system's bundle and the ones that are named, each once. One
// secret takes at most 500 kB. Above that, certificates that are out of date and older ones of the same
// name and key are left out; when that is not enough it is an error, because a bundle without the public
// authorities breaks public hosts and one without the others breaks private ones. `ca = []` in the
// configuration file carries none.
package settings
