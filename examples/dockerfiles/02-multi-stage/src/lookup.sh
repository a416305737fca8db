#!/bin/sh
# Prints a word and its number.
for word in "$@"; do
  printf '%s ' "$word"
  busybox sed -n "s/^ \"$word\": \([0-9]*\),*$/\1/p" "$VOCABULARY"
done
