// Package project reads Python projects and their lock files without running Python, uv, poetry or pixi:
// which files an installing step needs, which groups, extras and environments exist, which Pythons are
// allowed, and whether the lock was made for the manifest.
//
// What lives here: one reader per format ([ReadUV], [ReadScriptLock], [ReadPoetry], [ReadPylock],
// [ReadPixi], [ReadConda]). Each takes paths in a [python.Tree], never reads outside of it, and returns a
// small struct of values. All findings come at once, as source.Errors; those about the named file itself
// have no File.
//
// A lock is called out of date only when that is certain: the tool itself checks again in the step that
// installs (`uv sync --locked`, `poetry install`, `pixi install --locked`). testdata/uv/verdicts.json has
// what uv says to each case of the tests.
//
// What does not: requirements files (package python), resolving, and the steps of a build.
package project
