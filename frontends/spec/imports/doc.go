// Package imports finds which files of a folder a Python program imports, without running it: the
// "imported modules only" form of a code bundle.
//
// What lives here: the import statements of a file (wherever they stand: in functions, under conditions,
// under TYPE_CHECKING), importlib.import_module and __import__ with literal names, and the search for
// modules as Python does it: packages before extension modules before .py files, packages without an
// __init__.py (namespace packages) over all folders of the path.
//
// A program's path is its own folder, then the root of the source, then the roots that the caller names.
// A module that is nowhere there is a library's and none of this package's business; what is missing
// inside of a local package is noted. All that Python might import is taken rather than too little:
// both the function and the module that "from package import name" may mean, and the __init__.py files
// above a program, which count when it is started with -m.
//
// Beside x.py, these belong to module x: extension modules (x.*.so, x.so, x.pyd) and Cython's x.pyx and
// x.pxd. Type stubs (.pyi) and bytecode are left out.
//
// # What does not live here
//
// Data files of packages: nothing says which a program opens, so a user adds their folder as a source.
// Ignore rules and the copying are package spec's. What cannot be seen (names put together at run time,
// changes of sys.path, exec) is a [Note], never an error.
package imports
