// Package source is what every frontend reads and what every frontend complains about: one text that
// a user gave ([Source]) and the findings in it ([Error], [Errors]), each with file, line and column.
//
// What lives here: reading with a size limit, the UTF-8 check, the byte order mark, positions, the one
// form of an error message, and its conversion to BuildKit's errdefs.Source, which makes the command
// line print the lines in question.
//
// What does not: nothing here knows a format. Parsing is the frontends' business, and so is which
// limit applies to what.
package source
