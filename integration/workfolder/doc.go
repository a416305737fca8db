// Package workfolder makes the folders in which the tests' environments have
// their files: one each, held by a lock, and removed by the next environment
// when the process that had it was killed.
package workfolder
