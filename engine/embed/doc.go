// Package embed runs BuildKit inside ibuild, with no daemon.
//
// As root, or as the mapped root of a user namespace, BuildKit runs in this
// very process and is reached over an in-memory gRPC connection. As an ordinary
// user it runs in a child process: this same binary, re-executed in a user
// namespace of its own, reached over a unix socket that has no name in the file
// system. Either way a caller gets BuildKit's ordinary client, so sessions,
// status and typed errors are the same as with a remote daemon, and credentials,
// file access and outputs stay in the calling process, with the caller's rights.
//
// What lives here: the wiring of BuildKit's controller, worker, solver, executor
// and Dockerfile frontend; the choice of a snapshotter; the check of the OCI
// runtime; the lock on the state folder; the user namespace; and the removal of
// what a killed build left behind. This is the only package of ibuild that may
// import BuildKit's server side, so an upgrade of BuildKit touches one folder.
//
// What does not live here: anything that knows what is built (Dockerfiles,
// specs, platforms to spread, caches of identities, registries to push to), and
// remote daemons, which are in engine/remote.
//
// # The hook in main
//
// A program that uses this package calls [ChildMain] as the first thing in main,
// and in TestMain of every test binary that starts an engine as an ordinary user:
//
//	func main() {
//		embed.ChildMain() // does not return in the engine's child process
//		...
//	}
//
// # What a killed build leaves
//
// As an ordinary user, nothing: the child has a PID and a mount namespace of its
// own, so that the kernel ends its containers and mounts with it, and it dies with
// its parent. (Where /proc is masked there is no PID namespace; the child then
// stops in order when its parent dies.) As root, a container that ran at the
// moment of a SIGKILL goes on until the next engine starts on the same folder,
// which removes it together with its mounts and cgroups.
//
// # State on disk
//
//	<root>/lock               locked while an engine runs; names the holder
//	<root>/overlayfs/         everything made with that snapshotter as root
//	<root>/user-overlayfs/    the same, made in a user namespace
//	<root>/run, <root>/tmp    of a running engine in user mode; empty otherwise
//
// buildkitd keeps cache.db and history.db beside the folders of its
// snapshotters, so that after a change of snapshotter both refer to results and
// blobs of a worker that is not there. Here every combination of snapshotter and
// privilege has a folder of its own with all the databases in it: layers made as
// root and in a user namespace differ in ownership and in the extended
// attributes of overlayfs, and must not meet.
//
// # Space
//
// Config.MaxSize limits what is kept, as a rule of BuildKit's garbage collection. BuildKit
// looks at it some time after a build, when the process has often ended, so it is looked
// at here when an engine starts and when it is closed. [Engine.DiskUsage] and [Engine.Prune]
// are BuildKit's own.
//
// # Tests
//
// The tests that start engines have the build tag "integration". They want to be
// run as root, to run themselves again as an ordinary user (ibuild-test, who is
// made if missing), and need runc, uidmap and busybox-static.
package embed
