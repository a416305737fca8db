"""Fits y = a*x to three points by gradient descent."""

import argparse

parser = argparse.ArgumentParser()
parser.add_argument("--epochs", type=int, default=1)
a = 0.0
for epoch in range(parser.parse_args().epochs):
    gradient = sum((a * x - 2 * x) * x for x in (1, 2, 3))
    a -= 0.05 * gradient
    print(f"epoch {epoch + 1}: a = {a:.4f}")
