"""Fits a line on all cores and says what it ran with."""

import ctypes
import os

import joblib
import numpy as np
import threadpoolctl

ctypes.CDLL("libgomp.so.1")  # as a wheel with OpenMP does


def slope(seed):
    rng = np.random.default_rng(seed)
    x = rng.uniform(-1, 1, size=500)
    y = 2.5 * x + rng.normal(scale=0.01, size=500)
    return np.polyfit(x, y, 1)[0]


slopes = joblib.Parallel(n_jobs=2, prefer="threads")(joblib.delayed(slope)(seed) for seed in range(4))
openmp = [p["num_threads"] for p in threadpoolctl.threadpool_info() if p["prefix"] == "libgomp"]
print(f"slope {np.mean(slopes):.2f}, OpenMP with {openmp[0]} threads")
print("notebooks:", *sorted(name for _, _, names in os.walk("notebooks") for name in names))
