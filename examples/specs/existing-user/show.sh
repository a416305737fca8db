echo "$(id -un) in $(pwd)"
cat made.txt weights.txt
stat -c '%U %n' made.txt weights.txt show.sh
