# /// script
# dependencies = ["ipython"]
# ///

# %% cell 4
from IPython import get_ipython
from IPython.display import display, HTML
if get_ipython() is not None:
    print('in a notebook')
display(HTML('<b>x</b>'))
