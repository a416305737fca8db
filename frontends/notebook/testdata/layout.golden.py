# /// script
# dependencies = []
# ///

# %% cell 2

# the whole cell is indented
größe = 1
if größe:
	pass  # %matplotlib inline
print('ü ☃ 😀')

# %% cell 5


# %%time
print(größe)
