from setuptools import setup

setup(name="legacy-tools", version="0.7", py_modules=["legacy_tools"])
