# /// script
# requires-python = "==3.11.*"
# dependencies = ["humanize>=4", "click>=8"]
#
# [tool.uv]
# exclude-newer = "2025-06-01T00:00:00Z"
# ///
"""Prints sizes for people. Its packages are those of locked.py.lock (made by uv lock --script locked.py)."""

from importlib.metadata import version

import click
import humanize


@click.command()
@click.argument("sizes", nargs=-1, type=int)
def main(sizes):
    for size in sizes or (328_000_000, 1536):
        click.echo(humanize.naturalsize(size, binary=True))
    click.echo(f"humanize {version('humanize')}, click {version('click')}")


main()
