// Package codec compresses and decompresses layers: on all cores, into the same bytes on any number of them.
//
// What lives here: the names of the ways to compress, their media types, and their writers. What does not: making
// layers, and deciding which way is taken.
//
// One core is the limit of the libraries' own writers, and of BuildKit's (gzip at level 6 makes about 20 MB/s of Python
// packages). Both formats allow a stream to be made of parts that are compressed apart from each other: gzip by
// blocks that know what comes before them (RFC 1951, done by pgzip), zstd by frames that follow each other
// (RFC 8878, section 3.1). Parts have a fixed size, so what comes out does not depend on the machine.
package codec
