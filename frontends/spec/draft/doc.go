// Package draft writes the first image spec of a folder, out of what is in the folder.
//
// [Find] looks at a file system and returns a [Folder]: what says which packages the code needs, which
// Python it wants, what the code is and how it starts, each with its reason. [Folder.Spec] turns that and
// the user's [Answers] into a spec with comments. Both are pure: nothing is run, nothing is asked, and
// nothing outside of the given file system is read.
//
// In the text, "# words" is a comment and "#key: value" is a suggestion: it becomes a part of the spec when
// its # is removed. A draft is a valid spec, with and without its suggestions.
//
// What lives here: which files mean what, and tables of facts about well-known packages (which Debian
// packages their wheels load, what their modules are called). Files that cannot be read or understood are
// noted in the draft, and no error: whoever uses them complains in detail.
//
// What does not: questions and flags (cmd/ibuild), what a spec means (package spec), whether a lock fits its
// manifest (package project).
package draft
