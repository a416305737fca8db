# /// script
# requires-python = "==3.11.*"
# dependencies = ["polars==1.31.*"]
# ///
"""Sums up a table of runs with polars."""

import polars as pl

runs = pl.DataFrame({"model": ["mlp", "cnn", "mlp", "cnn"], "loss": [0.5, 0.25, 0.75, 0.5]})
best = runs.group_by("model").agg(pl.col("loss").min(), pl.len().alias("runs")).sort("model")
for model, loss, count in best.iter_rows():
    print(f"{model}: best {loss} of {count}")
