# /// script
# dependencies = []
# ///

# %% cell 2
# %%capture --no-stderr
with open("settings.toml", "w", encoding="utf-8") as _file: _file.write(
    "# /// script\n"
    "name = \"x\\y\"\ttab\n"
    "\n"
    "%not a magic\n")

# %% cell 3
with open(__import__("os").path.expanduser("~/my notes.txt"), "a", encoding="utf-8") as _file: _file.write("")

# %% cell 4
# %%timeit -n 1
# sum(range(10))
# !ls

# %% cell 5
# %timeit sum(range(10))
x = sum(range(10))
if x:
    y = x +         1
#        1
    pass  # %matplotlib inline
for i in range(2):
    pass  # %timeit i
print(x)
