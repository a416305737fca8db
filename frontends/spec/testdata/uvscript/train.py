# /// script
# requires-python = ">=3.11,<3.13"
# dependencies = [
#     "numpy>=2",
#     "rich",
# ]
# ///

import numpy as np
from rich import print

print(np.arange(3).sum())
