# /// script
# dependencies = []
# ///

# %% cell 2
text = '''
%matplotlib inline
!ls
%%bash
?help
'''
rest = (7
% 4)
more = 7 \
% 4
name = f"{rest:%}" f'''{more!r}
!no {"%pip"}
'''
assert rest != 2, "?"
# %run x
print('%d' % rest, '!', text) # !ls
