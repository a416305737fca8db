// Package python is what ibuild has to know of Python's packaging standards before a builder is
// reached: requirements (PEP 508), version specifiers (PEP 440), environment markers, requirements files,
// and the local packages that these name.
//
// It checks what can be checked without an index, so that a typing error costs no build, and it finds
// the files and folders that a requirements file needs. It resolves and installs nothing and never
// rewrites: uv gets every text as the user wrote it, and uv's opinion is the one that counts.
//
// What does not live here: projects and their locks (package project), image specs, scripts, LLB.
package python
