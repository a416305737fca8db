"""Joins CSV files of name,value, drops rows without a value and puts the names into lower case."""

import csv
import sys

out = csv.writer(sys.stdout, lineterminator="\n")
for name in sorted(sys.argv[1:]):
    with open(name, newline="") as f:
        out.writerows((row[0].lower(), row[1]) for row in csv.reader(f) if row and row[1])
