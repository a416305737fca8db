# /// script
# requires-python = "==3.11.*"
# dependencies = [
#   "numpy==2.2.6",
#   "tabulate==0.9.0",
# ]
# ///
"""Fits a plane through noisy points; the noise is the same every time."""

import numpy as np
from tabulate import tabulate

rng = np.random.default_rng(7)
x = rng.uniform(-1, 1, size=(200, 2))
y = x @ np.array([2.0, -3.0]) + 0.5 + rng.normal(scale=0.01, size=200)
weights, *_ = np.linalg.lstsq(np.column_stack([x, np.ones(200)]), y, rcond=None)
print(tabulate([[name, f"{w:.1f}"] for name, w in zip(["a", "b", "c"], weights)], tablefmt="plain"))
