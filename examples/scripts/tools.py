# /// script
# requires-python = "==3.11.*"
# dependencies = ["tabulate==0.9.0"]
#
# [tool.ibuild]
# apt_packages = ["jq"]
# env = { UNITS = "steps" }
# accelerator = "l4"
# labels = { "org.opencontainers.image.title" = "tools" }
# ///
"""Reads JSON with a program that pip does not have. [tool.ibuild] adds to the image what PEP 723 cannot say."""

import os
import subprocess

from tabulate import tabulate

runs = '{"mlp": [3, 2, 1], "cnn": [2, 1]}'
counts = subprocess.run(["jq", "-r", 'to_entries[] | "\\(.key) \\(.value | length)"'], input=runs, capture_output=True, text=True, check=True)
print(tabulate([[*line.split(), os.environ["UNITS"]] for line in counts.stdout.splitlines()], tablefmt="plain"))
