// Package ibuild holds no code: the program is in cmd/ibuild, and docs/architecture.md says what the
// other folders are for. The tests here enforce that page's import rules.
package ibuild
