echo "$(id -un) in $(pwd)"
cat made.txt weights.txt
stat -c '%U %n' made.txt weights.txt show.sh
python -c 'import sys, tabulate; print("tabulate", tabulate.__version__, "in the system Python" if sys.prefix == sys.base_prefix else "in " + sys.prefix)'
