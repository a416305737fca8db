// Package uvscript is the frontend for Python scripts with a PEP 723 header: the header decides the
// Python and the dependencies, <script>.lock pins them when it is there, and the script is the image's
// entry point.
//
// The steps, in order: the Debian Python base with the newest supported Python that requires-python
// allows; one step that installs the dependencies, given the header alone (and the lock), so that a
// change of the script's body is none of its business; the script itself as /home/app/<name> (script.py
// when it came from standard input); the entry point; the user "app". Where [tool.ibuild] has a base_image, the
// image starts from that one and keeps its user and workdir: the dependencies go into the virtual environment
// that it has by VIRTUAL_ENV, or into its own python3, beside what is there, and the script goes into its
// workdir. Whether its Python meets requires-python is for uv to say, in the step.
//
// Package spec makes the steps; here the header is read, checked, and its settings handed on as YAML.
//
// # Which block is the header
//
// What PEP 723's reference regular expression finds, on lines, with CRLF read as LF and a byte order
// mark skipped. No Python is parsed, so a block in a docstring is a header: uv sees it the same way.
// uv 0.13.9 differs in three places, and there this package does what serves the user: a "# /// script"
// in the middle of an earlier line hides the header from uv (PEP 723 does not know that, nor do we), a
// byte order mark before it does too, and uv takes an empty block, as we do, which the PEP's expression
// does not match. Where the PEP leaves tools the choice, an error is given: an opened block that is not
// closed, two script blocks, a script block inside another one.
//
// # Scripts for pixi
//
// [ReadPixi] reads the same block for pixi and makes a pixi.toml of it; package spec makes the image
// (pixi_script).
//
// # What does not live here
//
// uv reads the header itself when it installs, so everything in [tool.uv] means what uv says. Only what
// can be known to fail, or to mean something else in a build than it does at home (local paths,
// passwords), is looked at here. Requirements and versions are package spec/python's.
package uvscript
