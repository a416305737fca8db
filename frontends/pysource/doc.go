// Package pysource cuts Python text into logical lines and tokens, as far as that needs no parser: what
// is text, what is code, where a statement ends and which line it began in.
//
// What lives here: strings with every prefix, triple quotes, f-strings with all that PEP 701 allows in
// them (t-strings are the same), brackets, continued lines, comments, and the lines that only notebooks
// have (%magic, !command, help?). The package test compares all of it with Python's own tokenize on the
// standard library.
//
// What does not: what a statement means. Imports are package spec/imports', magics package notebook's.
// Nothing here fails: text that is no Python gives tokens all the same, in time and memory that are
// proportional to its length.
package pysource
