import os
import tomllib

import numpy as np
from tabulate import tabulate

from model.linear import step

with open(os.environ["CONFIG"], "rb") as f:
    config = tomllib.load(f)

weights = np.zeros(2)
rows = []
for epoch in range(int(os.environ["EPOCHS"])):
    weights = step(weights, config["rate"])
    rows.append([epoch + 1, *np.round(weights, 3)])
print(tabulate(rows, tablefmt="plain"))
print(os.environ["GREETING"])
