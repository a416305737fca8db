# /// script
# dependencies = [
#   "requests==2.32.3",
#   "rich==13.8.0",
# ]
# ///

# %% cell 1
import sys
IN_COLAB = 'google.colab' in sys.modules
if IN_COLAB:
    pass  # !pip install requests==2.32.3
else:
    pass

# %% cell 2
# %pip install --quiet requests==2.32.3 rich==13.8.0
__import__("os").environ["MODE"] = "fast and \"loud\""
import requests, rich
