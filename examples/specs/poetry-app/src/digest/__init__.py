import hashlib
from importlib.util import find_spec

import click
from tabulate import tabulate


@click.command()
@click.argument("words", nargs=-1)
def main(words):
    rows = [[word, hashlib.sha256(word.encode()).hexdigest()[:12]] for word in words or ("ant", "bee")]
    click.echo(tabulate(rows, tablefmt="plain"))
    click.echo("also here: " + (", ".join(name for name in ("poetry", "pytest") if find_spec(name)) or "nothing"))
