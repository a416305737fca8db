"""Make the projects of this folder anew: `python generate.py`, with poetry 2.5.1 on PATH, and PyPI in reach.

Each project is locked by poetry. Then each edit is made to a copy, and the verdict of `poetry check --lock` on
whether the lock is fresh goes into verdicts.json. The test of package project compares its own with these.
"""
import json, pathlib, shutil, subprocess, tempfile

HERE = pathlib.Path(__file__).parent
P = "pyproject.toml"
BUILD = '[build-system]\nrequires = ["poetry-core>=2"]\nbuild-backend = "poetry.core.masonry.api"\n'
OLD = '[tool.poetry]\nname = "app"\nversion = "0.1.0"\ndescription = ""\nauthors = []\n{0}[tool.poetry.dependencies]\npython = "{1}"\n{2}\n'
NEW = '[project]\nname = "app"\nversion = "0.1.0"\nrequires-python = ">=3.10"\ndependencies = [{0}]\n{1}\n'

# The index by its simple pages: some mirrors have nothing else, and poetry asks PyPI itself for more.
SOURCE = '[[tool.poetry.source]]\nname = "simple"\nurl = "https://pypi.org/simple/"\npriority = "primary"\n'

PROJECTS = {
    "legacy": ({P: OLD.format("", "^3.10", 'six = "^1.16"') + BUILD}, [
        (P, "^1.16", "^1.15"), (P, "0.1.0", "0.2.0"), (P, 'six = "^1.16"', 'six="^1.16"'), (P, "^3.10", "^3.11"), (P, "six", "Six")]),
    "legacygroups": ({P: OLD.format("package-mode = false\n", ">=3.10,<4.0", 'idna = {version = ">=3", optional = true, python = ">=3.10"}\n[tool.poetry.extras]\nnames = ["idna"]\n[tool.poetry.group.test.dependencies]\niniconfig = "*"\n[tool.poetry.group.docs]\noptional = true\n[tool.poetry.group.docs.dependencies]\nsix = "1.17.0"') }, [
        (P, 'iniconfig = "*"', 'iniconfig = ">=1"'), (P, "optional = true\n[tool", "optional = false\n[tool"), (P, 'names = ["idna"]', 'names = ["idna"]\nmore = []'), (P, "package-mode = false\n", "")]),
    "devdeps": ({P: OLD.format("", "~3.10 || ~3.11", 'six = "*"\n[tool.poetry.dev-dependencies]\niniconfig = ">=1"')}, [(P, ">=1", ">=2")]),
    "pep621": ({P: NEW.format('"six>=1.16", "idna>=3 ; sys_platform == \'linux\'"', '[project.optional-dependencies]\nextra-one = ["colorama"]') + BUILD}, [
        (P, "six>=1.16", "six>=1.15"), (P, "six>=1.16", "six >=1.16"), (P, '["colorama"]', '["colorama>0"]'), (P, ">=3.10", ">=3.11"), (P, "0.1.0", "0.1.1"),
        (P, BUILD, '[dependency-groups]\ndev = ["iniconfig"]\n')]),
    "pep735": ({P: NEW.format('"six"', '[dependency-groups]\ndev = ["iniconfig>=1"]\nall = [{include-group = "dev"}]\n[tool.poetry]\npackage-mode = false\n')}, [
        (P, "iniconfig>=1", "iniconfig>=2"), (P, 'include-group = "dev"', 'include-group="dev"'), (P, "all =", "every =")]),
    "mixed": ({P: NEW.format('"six"', '[tool.poetry.dependencies]\nsix = {version = ">=1.16", source = "pypi2"}\n[[tool.poetry.source]]\nname = "pypi2"\nurl = "https://pypi.org/simple/"\npriority = "explicit"\n[tool.poetry.group.dev.dependencies]\niniconfig = [{version = ">=2", python = ">=3.11"}, {version = ">=1", python = "<3.11"}]')}, [
        (P, ">=1.16", ">=1.15"), (P, 'priority = "explicit"', 'priority = "supplemental"'), (P, "pypi2", "pypi3")]),
    "paths": ({P: OLD.format("", ">=3.10", 'lib = {path = "libs/lib", develop = true}\nother = {path = "libs/other"}') , "libs/lib/pyproject.toml": NEW.format('"six"', "").replace("app", "lib") + BUILD,
               "libs/lib/lib.py": "", "libs/other/pyproject.toml": NEW.format("", "").replace("app", "other") + BUILD, "libs/other/other.py": ""}, [(P, "develop = true", "develop = false"), ("libs/lib/pyproject.toml", '"six"', '"six>1"')]),
    "unicode": ({P: NEW.format('"six"', '[tool.poetry.group."größe\\u007f\\"\\\\".dependencies]\niniconfig = {version = ">=1", markers = "platform_machine != \'\\tä🐍\'"}\n[tool.poetry.extras]\n')}, [(P, "🐍", "🐉")]),
    "legacybare": ({P: OLD.format("", "^3.10", "")}, [(P, "^3.10", ">=3.10")]),
    "nodeps": ({P: NEW.format("", "")}, [(P, "dependencies = []", "")]),
}


def main():
    verdicts = []
    with tempfile.TemporaryDirectory() as t:
        for name, (files, edits) in PROJECTS.items():
            root = HERE / name
            shutil.rmtree(root, ignore_errors=True)
            for f, text in files.items():
                (root / f).parent.mkdir(parents=True, exist_ok=True)
                (root / f).write_text(text + (SOURCE if f == P and name not in ("nodeps", "legacybare") else ""))
            r = subprocess.run(["poetry", "lock", "-n"], cwd=root, capture_output=True, text=True)
            if r.returncode:
                raise SystemExit(f"{name}: {r.stdout}{r.stderr}")
            for file, old, new in [("", None, None), *edits]:
                copy = pathlib.Path(t) / "copy"
                shutil.rmtree(copy, ignore_errors=True)
                shutil.copytree(root, copy)
                if file:
                    text = (copy / file).read_text()
                    if old not in text:
                        raise SystemExit(f"{name}: {old} is not in {file}")
                    (copy / file).write_text(text.replace(old, new, 1))
                r = subprocess.run(["poetry", "check", "--lock", "-n"], cwd=copy, capture_output=True, text=True)
                stale = "changed significantly" in r.stdout + r.stderr
                verdicts.append({"project": name, "file": file, "old": old, "new": new, "uv": "stale" if stale else "current"})
                print(name, "|", file, "|", old, "|", new, "|", verdicts[-1]["uv"], "|", r.returncode, (r.stdout + r.stderr)[-200:] if not stale else "", flush=True)
    (HERE / "verdicts.json").write_text(json.dumps(verdicts, indent=1) + "\n")


if __name__ == "__main__":
    main()
