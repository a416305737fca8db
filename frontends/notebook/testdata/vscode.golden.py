# /// script
# dependencies = ["pandas==2.2.2"]
# ///

def display(*objects, **options): print(*objects)

# %% cell 1
import pandas as pd

# %% cell 2
df = pd.DataFrame({'a': [1]})
display(df, display_id=True)
