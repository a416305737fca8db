# /// script
# requires-python = "==3.11.*"
# dependencies = ["attrs", "packaging"]
#
# [tool.uv]
# exclude-newer = "2024-07-01T00:00:00Z"
# constraint-dependencies = ["packaging<24"]
# no-build = true
# ///
"""Shows that what [tool.uv] says decides the versions: the state of PyPI at a date, and a constraint."""

from importlib.metadata import version

for name in ("attrs", "packaging"):
    print(name, version(name))
