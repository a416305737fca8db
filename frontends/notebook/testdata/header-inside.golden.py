# /// script
# dependencies = []
# ///

from __future__ import annotations

# %% cell 2
"""A report."""
# from __future__ import annotations
import sys

# %% cell 3
print(sys.version_info[:2])
