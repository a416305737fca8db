#!/usr/bin/env -S uv run --script
"""Fits a line through noise.

The header below is read by uv and by ibuild.
"""

# /// script
# # Which Python: the one that the cluster has.
# requires-python = "==3.11.*"
# dependencies = [
#     # scikit-learn brings numpy and scipy
#     "scikit-learn[benchmark]~=1.5 ; python_version < '3.14'",
#     "pandas>=2,!=2.2.0",
# ]
#
# [tool.uv]
# exclude-newer = "2025-06-01T00:00:00Z"
#
# [[tool.uv.index]]
# name = "pytorch"
# url = "https://download.pytorch.org/whl/cpu"
#
# [tool.uv.sources]
# torch = { index = "pytorch" }
# ///

from sklearn.linear_model import LinearRegression

print(LinearRegression)
