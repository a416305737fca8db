# /// script
# requires-python = ">=3.11"
# dependencies = [
#     "numpy",
# ]
# ///

# %% cell 2
import numpy as np

print(np.arange(3).sum())
