// Package dockerfile makes a plan of a Dockerfile and its context folder.
//
// A Dockerfile stays a Dockerfile: BuildKit's own frontend turns it into LLB, inside this process, so it
// means the same as under buildctl and buildx of that version. What lives here is the way from flags to
// that frontend's options, the check for foreign "# syntax=" images, and the errors of missing files.
// What does not: any parsing of Dockerfile instructions.
package dockerfile
