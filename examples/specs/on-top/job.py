import os
import pathlib

import humanize
from tabulate import tabulate

print(tabulate([[os.environ["TEAM"], os.environ["JOB"], humanize.intcomma(12345)]], tablefmt="plain"))
print(pathlib.Path("/etc/team/policy.txt").read_text(), end="")
