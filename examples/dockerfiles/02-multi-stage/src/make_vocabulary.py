"""Counts the words of a folder's texts and numbers them, the most frequent first."""

import collections
import json
import pathlib
import sys

words = collections.Counter()
for text in sorted(pathlib.Path(sys.argv[1]).glob("*.txt")):
    words.update(text.read_text().lower().split())

ranked = sorted(words, key=lambda word: (-words[word], word))
json.dump({"<unk>": 0} | {word: i for i, word in enumerate(ranked, 1)}, sys.stdout, indent=1)
