from importlib.util import find_spec

import humanize
from features import all_features
from tabulate import tabulate


def main():
    rows = [[f.name, humanize.naturalsize(f.size, binary=True)] for f in all_features()]
    print(tabulate(rows, tablefmt="plain"))
    print("with pytest" if find_spec("pytest") else "without pytest")


if __name__ == "__main__":
    main()
