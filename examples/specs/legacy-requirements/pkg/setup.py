from setuptools import setup

setup(name="legacy-core", version="2.1", py_modules=["legacy_core"], install_requires=["humanize"])
