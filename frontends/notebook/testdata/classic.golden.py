# /// script
# dependencies = [
#   "matplotlib==3.9.2",
# ]
# ///

# %% cell 1
# %matplotlib inline
# %load_ext autoreload
# %autoreload 2
# %config InlineBackend.figure_format = 'retina'
# !pip install matplotlib==3.9.2

# %% cell 2
import matplotlib.pyplot as plt
plt.plot([1, 2, 3]);
