// Package contract is what ibuild and the bootstrap, its program inside the
// pod, say to each other: the command line of a container, the message that it
// ends with, its exit codes, and what is set for the user's program.
//
// Both sides use the same code: package launch writes a [Request] as a command,
// the program reads it. What runs it is in package main of
// runner/bootstrap/program, how results travel in runner/bootstrap/results.
//
// # The command of a container
//
//	/ibuild/bootstrap run [flags] -- PROGRAM [ARG…]
//
//	--install=FILE         install what this requirements file names before the program starts
//	--output=FOLDER        the program's results; made if it is not there, and named in $IBUILD_OUTPUT_DIR
//	--results=REPO:PREFIX  push the results there: host i of slice s sets the tag PREFIX-s-i
//	--credential=FILE      docker's config.json for that push; without one it is anonymous
//	--results-auth=WAY     "config" (the default: the credential) or "workload" (the pod's identity at Google)
//	--results-http         the registry of --results is talked to without TLS
//	--timeout=SECONDS      the program is ended after so many seconds since the container began
//	--grace=SECONDS        what the pod has between SIGTERM and SIGKILL (30)
//
// The flags come in any order, each at most once, always with "=". A flag that
// is not known is an error: an image with an old bootstrap does not ignore what
// a new ibuild asks for.
//
// # What the program finds
//
//   - IBUILD_OUTPUT_DIR is the folder of --output, PYTHONUNBUFFERED is 1 unless
//     it was set: what a Python program prints is not kept back.
//   - It is the only child, with the container's standard input, output and
//     error as they are: what it prints is neither read nor put in another order.
//   - Each signal that the container gets is passed on to it, and to it alone, as
//     if it were process 1 itself. Left out are SIGCHLD, SIGPIPE, SIGPROF and
//     SIGURG, which are about the bootstrap's own work, and those of faults and
//     of terminals' job control.
//   - When it ends, what it has left running is killed, as the end of process 1
//     would do it, so that nothing changes the results while they are read.
//     (Not when the pod shares its process namespace: others live there, too.)
//
// # How it ends
//
// The exit code is the program's; 128+n when signal n killed it; 127 when there
// is no such program, 126 when it cannot be run: as in a shell. ibuild's own
// are [ExitTimeout], [ExitBootstrap] and [ExitResults]. As a program may use the
// same ones, the [Message] in /dev/termination-log says whose the code is.
//
// Results are pushed after success, failure, timeout and SIGTERM alike, unless
// the folder is empty. After SIGTERM the program gets two thirds of --grace, and
// the push what is left, less a second: Kubernetes kills both when it is over.
package contract
