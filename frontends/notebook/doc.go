// Package notebook reads Jupyter notebooks (.ipynb) and makes Python scripts with a PEP 723 header of
// them: the header first, then the code cells in their order.
//
// What lives here: the JSON of nbformat 4, which cells count, what becomes of the lines that only IPython
// understands, the header, and the way back from a line of the script to its cell.
//
// # The header
//
// It is the PEP 723 block of the first code cell that has text, where juv writes it. Without one, the pip
// lines of the notebook (%pip, !pip, %uv pip, !uv pip, also through python -m) make it, if each of their
// requirements is pinned by == or a URL. Indexes, --find-links and --pre go to [tool.uv]. A pip line under
// an if counts like any other: the image has the package either way. When there is a header, a pip line is
// an error, since the image would not run it.
//
// # Magics
//
//   - What is about the notebook alone (%matplotlib, %load_ext, %autoreload, %config, …), and what only
//     measures (%timeit, %%timeit), becomes a comment.
//   - %time, %%time and %%capture: the code stays.
//   - %env X=1 sets os.environ. %cd dir calls os.chdir: the folder has to be in the image. %%writefile
//     writes the file when the script runs. Names in their arguments ({x}, $x) are an error.
//   - display becomes print unless the notebook imports it; IPython does the same outside of a notebook.
//   - from __future__ imports move to the top.
//   - All else is an error: other magics, !commands, help?, get_ipython, await outside of a function.
//
// A line is a magic only where a statement begins (package pysource), so texts and continued lines are
// safe. Each line of a cell stays one line of the script.
//
// # Cells
//
// Cells are numbered from 1, all kinds together, as VS Code does. Markdown and raw cells, and code cells
// with the tag skip-build or ibuild-skip, are left out. Outputs and execution counts are never looked at.
//
// # What does not live here
//
// The meaning of the header: the script's reader (package uvscript) parses it and reports what is wrong
// in it, and [Notebook.Rewrite] shows that in the cell. A header that is opened but not well formed is
// left to it, too. No Python is parsed, and nothing is run.
package notebook
