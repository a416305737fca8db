# /// script
# dependencies = [
#   "transformers[torch]==4.44.0",
#   "datasets==2.21.0",
# ]
# ///

def display(*objects, **options): print(*objects)

# %% cell 2
#@title Setup { display-mode: "form" }
# !pip install -q 'transformers[torch]==4.44.0' "datasets==2.21.0" > /dev/null 2>&1  # quiet
__import__("os").environ["TOKENIZERS_PARALLELISM"] = "false"

# %% cell 3
# %%time
from transformers import pipeline
__import__("os").chdir("/tmp")
display(pipeline)
