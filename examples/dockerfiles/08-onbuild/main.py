import argparse

from tabulate import tabulate

parser = argparse.ArgumentParser()
parser.add_argument("--name", default="someone")
print(tabulate([["hello", parser.parse_args().name]], tablefmt="plain"))
