"""Make the projects of this folder anew: `python generate.py`, with uv 0.13.9 and git on PATH, and PyPI in reach.

Each project is locked by uv. Then each edit is made to a copy, and the verdict of `uv lock --check` on it goes
into verdicts.json. The test of package project compares its own verdicts with these.
"""
import http.server, json, os, pathlib, shutil, subprocess, tempfile, threading

HERE = pathlib.Path(__file__).parent
SIX = "https://files.pythonhosted.org/packages/b7/ce/149a00dd41f10bc29e5921b496af8b574d8413afcd5e30dfa0ed46c2cc5e/six-1.17.0-py2.py3-none-any.whl"
BUILD = '[build-system]\nrequires = ["uv_build>=0.13,<0.14"]\nbuild-backend = "uv_build"\n'
HATCH = '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n'


def project(name="app", deps=(), python=">=3.10", version='version = "0.1.0"', more=""):
    p = f'requires-python = "{python}"\n' if python else ""
    return f'[project]\nname = "{name}"\n{version}\n{p}dependencies = {json.dumps(list(deps))}\n{more}'


NODEV = "[tool.uv]\ndefault-groups = []\n"
P = "pyproject.toml"

# name -> (files, edits); an edit is (file, old, new), or (file, None, text) for a whole file.
PROJECTS = {
    "plain": ({P: project(deps=["Six>=1.16", "typing_extensions ~= 4.5", "idna==3.*", "certifi"])}, [
        (P, "Six>=1.16", "six >= 1.16.0"), (P, "Six>=1.16", "six>=1.17"), (P, "Six>=1.16", "six"),
        (P, "typing_extensions ~= 4.5", "typing-extensions~=4.5"), (P, "typing_extensions ~= 4.5", "typing-extensions~=4.5.0"),
        (P, '"certifi"', '"certifi", "colorama"'), (P, ', "certifi"', ""), (P, '"certifi"', '"certifi; python_version>\'3.0\'"'),
        (P, "0.1.0", "0.2.0"), (P, "0.1.0", "0.1"), (P, '"app"', '"App"'), (P, '"app"', '"apple"'),
        (P, ">=3.10", ">=3.11"), (P, ">=3.10", ">=3.10.0"), (P, ">=3.10", ">=3.10,!=3.11.*"), (P, ">=3.10", ">=3.10,<4"),
        (P, "idna==3.*", "idna==3.*,>=3.0"), (P, '"certifi"', '"certifi", "certifi"'), (P, '"certifi"', '"certifi[x]"'),
        (P, '"certifi"', '"certifi", "certifi>2020"'), (P, "dependencies =", 'description = "x"\ndependencies ='),
        (P, "idna==3.*", "idna==3.0.*"), (P, "idna==3.*", "idna===3.15"), ("uv.lock", "version = 1\n", "version = 2\n"),
        ("uv.lock", "revision = 5", "revision = 6"), ("uv.lock", "revision = 5", "revision = 1"), (P, "dependencies = [", "dependencies = [[")]),
    "nodeps": ({P: project()}, [(P, "dependencies = []", 'dependencies = ["six"]'), (P, "dependencies = []", "")]),
    "markers": ({P: project(deps=[
        "colorama; sys_platform == 'win32'", "typing-extensions; python_version < '3.11'", "six; python_version>='3.8'",
        "idna>=3; (os_name=='posix' and platform_machine=='x86_64') or sys_platform=='darwin'",
        "certifi>2020; python_version < '3.12'", "certifi>2021; python_version >= '3.12'",
        "iniconfig; platform_system == 'Linux' and sys_platform == 'linux'", "attrs; python_full_version >= '3.11.4' and implementation_name != 'pypy'"])}, [
        (P, "sys_platform == 'win32'", "sys_platform=='win32'"), (P, "sys_platform == 'win32'", "sys_platform == 'cygwin'"),
        (P, "; sys_platform == 'win32'", ""), (P, "python_version < '3.11'", "python_full_version < '3.11'"),
        (P, "python_version < '3.11'", "python_version <= '3.10'"), (P, "python_version < '3.11'", "python_version < '3.12'"),
        (P, "six; python_version>='3.8'", "six"), (P, "six; python_version>='3.8'", "six; python_version>='3.11'"),
        (P, "python_version < '3.12'", "'3.12' > python_version"), (P, "python_version < '3.12'", "python_version < '3.13'"),
        (P, "python_version < '3.12'", "python_version not in '3.12 3.13 3.14 3.15'"),
        (P, "platform_machine=='x86_64'", "platform_machine=='aarch64'"),
        (P, " or sys_platform=='darwin'", " or sys_platform=='darwin' or sys_platform=='darwin'"),
        (P, "platform_system == 'Linux' and sys_platform == 'linux'", "sys_platform == 'linux'"),
        (P, "implementation_name != 'pypy'", "platform_python_implementation != 'PyPy'"),
        (P, "python_full_version >= '3.11.4'", "python_full_version > '3.11.3'"),
        (P, "python_full_version >= '3.11.4'", "python_full_version >= '3.11.5'")]),
    "extras": ({P: project(name="My.App", deps=["six"], more='[project.optional-dependencies]\nCol_or = ["colorama>=0.4"]\nids = ["idna; python_version<\'3.13\'"]\nall = ["my-app[col-or,ids]"]\nnone = []\n')}, [
        (P, "Col_or", "col-or"), (P, "Col_or", "colour"), (P, "none = []\n", ""), (P, "colorama>=0.4", "colorama>=0.4.5"),
        (P, "[col-or,ids]", "[ids,col-or]"), (P, "[col-or,ids]", "[col-or]"), (P, "python_version<'3.13'", "python_version<'3.14'"),
        (P, 'none = []', 'none = []\nnew = ["certifi"]'), (P, "all = [\"my-app[col-or,ids]\"]", "")]),
    "groups": ({P: project(deps=["six"], more='[dependency-groups]\ndev = ["iniconfig>=2", {include-group = "Lint_er"}]\nlint_er = ["packaging; os_name==\'posix\'"]\nempty = []\nnested = [{include-group = "dev"}]\n')}, [
        (P, "iniconfig>=2", "iniconfig>=1"), (P, "packaging;", "packaging>20;"), (P, "empty = []", ""), (P, "empty = []", "blank = []"),
        (P, 'include-group = "Lint_er"', 'include-group = "lint-er"'), (P, "nested =", "nest =", ), (P, ', {include-group = "Lint_er"}', ""),
        (P, 'include-group = "dev"', 'include-group = "lint-er"'), (P, '"iniconfig>=2"', '"iniconfig>=2", "iniconfig>=2"')]),
    "legacydev": ({P: project(deps=["six"], more='[dependency-groups]\ndev = ["iniconfig"]\n[tool.uv]\ndev-dependencies = ["packaging>20"]\n')}, [
        (P, "packaging>20", "packaging>21"), (P, 'dev-dependencies = ["packaging>20"]', ""), (P, '"iniconfig"', '"iniconfig", "packaging>20"')]),
    "grouppython": ({P: project(deps=["six"], more='[dependency-groups]\ndocs = ["iniconfig"]\n[tool.uv.dependency-groups]\ndocs = {requires-python = ">=3.12"}\n')}, [
        (P, ">=3.12", ">=3.13"), (P, '"iniconfig"', '"iniconfig", "idna"'), (P, '"iniconfig"', '"iniconfig>1"')]),
    "workspace": ({
        P: project(name="root", deps=["alpha", "six"], more=BUILD + '[tool.uv.sources]\nalpha = {workspace = true}\nbeta = {workspace = true}\n[tool.uv.workspace]\nmembers = ["packages/*", "deep/**/lib"]\nexclude = ["packages/skip*"]\n'),
        "src/root/__init__.py": "",
        "packages/alpha/pyproject.toml": project(name="alpha", deps=["beta[x]", "idna>=3"], python=">=3.11", more=HATCH),
        "packages/alpha/src/alpha/__init__.py": "",
        "packages/beta/pyproject.toml": project(name="beta", deps=[], more='[project.optional-dependencies]\nx = ["colorama"]\n'),
        "packages/skipme/pyproject.toml": project(name="skip"),
        "deep/a/b/lib/pyproject.toml": project(name="deep", deps=["beta"], more='[dependency-groups]\ndev = ["alpha"]\n'),
    }, [
        ("packages/alpha/pyproject.toml", "idna>=3", "idna>=3.1"), ("packages/beta/pyproject.toml", '["colorama"]', '["colorama>0.3"]'),
        (P, 'exclude = ["packages/skip*"]', ""), (P, ', "deep/**/lib"', ""), ("packages/alpha/pyproject.toml", ">=3.11", ">=3.12"),
        ("packages/alpha/pyproject.toml", ">=3.11", ">=3.10"), ("packages/beta/pyproject.toml", ">=3.10", ">=3.9"),
        (P, "alpha = {workspace = true}", "alpha = {workspace = true, editable = false}"), (P, "beta = {workspace = true}", 'beta = {path = "packages/beta"}'),
        ("packages/new/pyproject.toml", None, project(name="new")), ("packages/beta/pyproject.toml", "0.1.0", "0.2.0"),
        ("packages/alpha/pyproject.toml", HATCH, ""), ("deep/a/b/lib/pyproject.toml", '["alpha"]', '["alpha>=0"]'),
        (P, BUILD, ""), ("packages/.hidden/x", None, "")]),
    "virtualroot": ({
        P: '[dependency-groups]\ndev = ["iniconfig"]\n[tool.uv.workspace]\nmembers = ["a", "b"]\n',
        "a/pyproject.toml": project(name="a", deps=["six"]), "b/pyproject.toml": project(name="b", deps=["a"], more="[tool.uv.sources]\na = {workspace = true}\n"),
    }, [(P, '["iniconfig"]', '["iniconfig>1"]'), (P, 'dev = ["iniconfig"]', 'dev = []'), ("a/pyproject.toml", '"six"', '"six>1"'), (P, ', "b"', "")]),
    "git": ({P: project(deps=["gitted>=0.1"], more='[tool.uv.sources]\ngitted = {git = "@GIT@", tag = "v1"}\n')}, [
        (P, 'tag = "v1"', 'tag = "v2"'), (P, 'tag = "v1"', 'branch = "v1"'), (P, ', tag = "v1"', ""), (P, "gitted>=0.1", "gitted>=0.2"), (P, "gitted>=0.1", "gitted"),
        (P, '@GIT@"', '@GIT@/"'), (P, "[tool.uv.sources]\n", "[tool.uv.sources]\nsix = {url=\"" + SIX + "\"}\n")]),
    "url": ({P: project(deps=["six"], more=f'[tool.uv.sources]\nsix = {{url = "{SIX}"}}\n')}, [
        (P, f'six = {{url = "{SIX}"}}', ""), (P, '["six"]', f'["six @ {SIX}"]'), (P, '["six"]', '["six>1"]')]),
    "direct": ({P: project(deps=[f"six @ {SIX}", "gitted @ git+@GIT@@v1"])}, [
        (P, f"six @ {SIX}", "six"), (P, "@v1", "@v2"), (P, '@v1"', '@v1 ; python_version>\'3.1\'"')]),
    "paths": ({
        P: project(deps=["lib", "lib2", "tiny", "virt"], more='[tool.uv.sources]\nlib = {path = "./lib", editable = true}\nlib2 = {path = "lib2"}\ntiny = {path = "wheels/tiny-1.0-py3-none-any.whl"}\nvirt = {path = "virt", package = false}\n'),
        "lib/pyproject.toml": project(name="lib", deps=["six"], more=HATCH), "lib/lib/__init__.py": "",
        "lib2/pyproject.toml": project(name="lib2", version='dynamic = ["version"]', more=HATCH + '[tool.hatch.version]\npath = "lib2.py"\n'), "lib2/lib2.py": '__version__ = "1"\n',
        "virt/pyproject.toml": project(name="virt", deps=["idna"]),
        "wheels/tiny-1.0-py3-none-any.whl": "@WHEEL@",
    }, [
        (P, "editable = true", "editable = false"), (P, 'path = "./lib"', 'path = "lib"'), (P, ', editable = true', ""),
        ("lib/pyproject.toml", '["six"]', '["six>1"]'), ("virt/pyproject.toml", '["idna"]', '["idna>1"]'), (P, '{path = "lib2"}', '{path = "lib2", editable = true}'),
        (P, ", package = false", ""), ("lib/pyproject.toml", "0.1.0", "0.3.0")]),
    "dynamic": ({
        P: project(version='dynamic = ["version"]', deps=["six"], more='[project.optional-dependencies]\na = ["idna"]\nall = ["app[a]"]\n' + HATCH + '[tool.hatch.version]\npath = "app.py"\n[tool.hatch.build.targets.wheel]\ninclude = ["app.py"]\n'), "app.py": '__version__ = "1"\n',
    }, [(P, '["six"]', '["six>1"]'), (P, '["idna"]', '["idna>1"]'), (P, 'dynamic = ["version"]', 'version = "1"'), ("app.py", '"1"', '"2"')]),
    "dyndeps": ({
        P: '[project]\nname = "app"\nversion = "1"\nrequires-python = ">=3.10"\ndynamic = ["dependencies"]\n[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n[tool.setuptools]\npy-modules = []\n[tool.setuptools.dynamic]\ndependencies = {file = ["requirements.txt"]}\n',
        "requirements.txt": "six\n",
    }, [("requirements.txt", "six", "six>1"), (P, 'requires-python = ">=3.10"', 'requires-python = ">=3.11"')]),
    "pythons": ({P: project(deps=["six"], python=">=3.10,<3.14,!=3.12.*")}, [
        (P, ",!=3.12.*", ""), (P, "<3.14", "<3.13"), (P, ">=3.10,<3.14,!=3.12.*", "<3.14,>=3.10"), (P, "<3.14", "<=3.13.*")]),
    "tilde": ({P: project(deps=["six"], python="~=3.11")}, [
        (P, "~=3.11", ">=3.11,<4"), (P, "~=3.11", ">=3.11"), (P, "~=3.11", "==3.*,>=3.11"), (P, "~=3.11", "==3.11.*"), (P, "~=3.11", ">=3.11,<4.0")]),
    "nopython": ({P: project(deps=["six"], python="")}, [(P, '"six"', '"six>1"')]),
    "manifest": ({P: project(deps=["six", "idna"], more='[tool.uv]\nconstraint-dependencies = ["idna<4", "attrs<30"]\noverride-dependencies = ["six==1.17.0"]\nbuild-constraint-dependencies = ["setuptools<90"]\nexclude-dependencies = ["colorama"]\n')}, [
        (P, "idna<4", "idna<5"), (P, '"idna<4", "attrs<30"', '"attrs<30", "idna<4"'), (P, "six==1.17.0", "six==1.17"), (P, "six==1.17.0", "six==1.16.0"),
        (P, "setuptools<90", "setuptools<91"), (P, '"colorama"', '"Colorama"'), (P, '["colorama"]', '["colorama", "attrs"]'), (P, 'override-dependencies = ["six==1.17.0"]', "")]),
    "conflicts": ({P: project(deps=["certifi"], more='[project.optional-dependencies]\nold = ["six==1.16.0"]\nnew = ["six==1.17.0"]\n[dependency-groups]\ng = ["idna"]\n[tool.uv]\nconflicts = [[{extra = "old"}, {extra = "new"}]]\n')}, [
        (P, 'conflicts = [[{extra = "old"}, {extra = "new"}]]', 'conflicts = [[{extra = "new"}, {extra = "old"}]]'),
        (P, 'conflicts = [[{extra = "old"}, {extra = "new"}]]', 'conflicts = [[{extra = "new"}, {extra = "old"}, {group = "g"}]]'),
        (P, "six==1.16.0", "six==1.15.0"), (P, 'conflicts = [[{extra = "old"}, {extra = "new"}]]', "")]),
    "conflictsources": ({P: project(deps=["certifi"], more='[project.optional-dependencies]\nold = ["six"]\nnew = ["six"]\n[tool.uv]\nconflicts = [[{extra = "old"}, {extra = "new"}]]\n[[tool.uv.index]]\nname = "one"\nurl = "https://pypi.org/simple/"\nexplicit = true\n[[tool.uv.index]]\nname = "two"\nurl = "https://pypi.org/simple"\nexplicit = true\n[tool.uv.sources]\nsix = [{index = "one", extra = "old"}, {index = "two", extra = "new"}]\n')}, [
        (P, 'old = ["six"]', 'old = ["six>1"]')]),
    "indexes": ({P: project(deps=["six", "idna>=3"], more='[[tool.uv.index]]\nname = "my-index.2"\nurl = "https://pypi.org/simple/"\nexplicit = true\n[tool.uv.sources]\nsix = {index = "my-index.2"}\n')}, [
        (P, 'six = {index = "my-index.2"}', ""), (P, "https://pypi.org/simple/", "https://pypi.org/simple"), (P, 'six = {index', 'idna = {index'), (P, '"six"', '"six>=1"'),
        (P, "my-index.2", "other"), (P, "https://pypi.org/simple/", "https://user:pw@pypi.org/simple/")]),
    "markersources": ({P: project(deps=["six>=1"], more=f'[tool.uv.sources]\nsix = [{{url = "{SIX}", marker = "sys_platform == \'linux\'"}}]\n')}, [
        (P, "six>=1", "six>=1.1"), (P, "'linux'", "'darwin'"), (P, "six>=1", "six"), (P, f'[tool.uv.sources]\nsix = [{{url = "{SIX}", marker = "sys_platform == \'linux\'"}}]\n', "")]),
    "options": ({P: project(deps=["six"], more='[tool.uv]\nresolution = "lowest-direct"\nprerelease = "allow"\nexclude-newer = "2026-01-01T00:00:00Z"\nfork-strategy = "fewest"\n'.replace('"six"', '"six>=1.10"'))}, [
        (P, 'resolution = "lowest-direct"', ""), (P, 'prerelease = "allow"', ""), (P, "2026-01-01", "2026-01-02"), (P, 'exclude-newer = "2026-01-01T00:00:00Z"', ""),
        (P, 'fork-strategy = "fewest"', ""), (P, 'prerelease = "allow"', 'prerelease = "if-necessary-or-explicit"'), ("uv.toml", None, 'resolution = "highest"\n'),
        (P, "2026-01-01T00:00:00Z", "2026-01-01T01:00:00+01:00"), ("uv.toml", None, 'resolution = "lowest-direct"\nprerelease = "allow"\nexclude-newer = "2026-01-01T00:00:00Z"\nfork-strategy = "fewest"\n')]),
    "environments": ({P: project(deps=["six", "colorama; sys_platform=='win32'"], more='[tool.uv]\nenvironments = ["sys_platform == \'linux\'"]\nrequired-environments = ["platform_machine == \'x86_64\'"]\n')}, [
        (P, "sys_platform == 'linux'", "sys_platform == 'darwin'"), (P, "; sys_platform=='win32'", ""), (P, '"six"', '"six>1"'), (P, "; sys_platform=='win32'", "; sys_platform=='linux'")]),
    "buildsystem": ({P: project(deps=["six"], more=BUILD), "src/app/__init__.py": ""}, [
        (P, BUILD, ""), (P, BUILD, BUILD + "[tool.uv]\npackage = false\n"), (P, "uv_build>=0.13,<0.14", "uv_build>=0.12,<0.14")]),
    "metadata": ({P: project(deps=["six"], more='[[tool.uv.dependency-metadata]]\nname = "six"\nversion = "1.17.0"\nrequires-dist = ["idna"]\n')}, [
        (P, '["idna"]', '["idna>1"]'), (P, '[[tool.uv.dependency-metadata]]\nname = "six"\nversion = "1.17.0"\nrequires-dist = ["idna"]\n', "")]),
    "script": ({"s.py": '# /// script\n# requires-python = ">=3.11"\n# dependencies = ["six>=1", "colorama; sys_platform==\'win32\'"]\n# [tool.uv]\n# constraint-dependencies = ["idna<4"]\n# ///\nprint()\n'}, [
        ("s.py", "six>=1", "six>=1.1"), ("s.py", "six>=1", "Six >= 1.0"), ("s.py", ">=3.11", ">=3.12"), ("s.py", "idna<4", "idna<5"), ("s.py", "print()", "print(1)"),
        ("s.py", "; sys_platform=='win32'", ""), ("s.py", '"six>=1", ', ""), ("s.py", ' = ["idna<4"]', ' = ["idna<4"]\n# [tool.uv.sources]\n# six = {url = "' + SIX + '"}')]),
}


def wheel(path):
    import zipfile
    with zipfile.ZipFile(path, "w") as z:
        for name, text in {"tiny.py": "", "tiny-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n",
                           "tiny-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n", "tiny-1.0.dist-info/RECORD": ""}.items():
            z.writestr(zipfile.ZipInfo(name, (2020, 1, 1, 0, 0, 0)), text)


def write(root, files):
    for name, text in files.items():
        f = root / name
        f.parent.mkdir(parents=True, exist_ok=True)
        wheel(f) if text == "@WHEEL@" else f.write_text(text)


def git_server(tmp):
    """One package in a repository with the tags v1 and v2, served at a fixed port."""
    src, bare = tmp / "src", tmp / "gitted.git"
    env = dict(os.environ, GIT_AUTHOR_NAME="a", GIT_AUTHOR_EMAIL="a@b", GIT_COMMITTER_NAME="a", GIT_COMMITTER_EMAIL="a@b",
               GIT_AUTHOR_DATE="2020-01-01T00:00:00Z", GIT_COMMITTER_DATE="2020-01-01T00:00:00Z")
    git = lambda *a: subprocess.run(["git", *a], cwd=src, check=True, capture_output=True, env=env)
    src.mkdir()
    git("init", "-q", "-b", "main")
    for tag in "v1", "v2":
        (src / P).write_text(project(name="gitted", version=f'version = "0.{tag[1]}"'))
        git("add", ".")
        git("commit", "-qm", tag)
        git("tag", tag)
    subprocess.run(["git", "clone", "-q", "--bare", src, bare], check=True)
    subprocess.run(["git", "update-server-info"], cwd=bare, check=True)
    handler = lambda *a: type("H", (http.server.SimpleHTTPRequestHandler,), {"log_message": lambda *a: None})(*a, directory=str(tmp))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 18473), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return "http://127.0.0.1:18473/gitted.git"


def uv(cwd, *args):
    env = {k: v for k, v in os.environ.items() if not k.startswith("UV_")}
    return subprocess.run(["uv", *args], cwd=cwd, capture_output=True, text=True, env=env)


def main():
    verdicts = []
    with tempfile.TemporaryDirectory() as t:
        tmp = pathlib.Path(t)
        url = git_server(tmp)
        for name, (files, edits) in PROJECTS.items():
            fix = lambda s: s if s is None else s.replace("@GIT@", url)
            root = HERE / name
            shutil.rmtree(root, ignore_errors=True)
            write(root, {k: fix(v) for k, v in files.items()})
            script = ["--script", "s.py"] if "s.py" in files else []
            r = uv(root, "lock", *script)
            if r.returncode:
                raise SystemExit(f"{name}: {r.stderr}")
            for left in root.glob("**/*.egg-info"):
                shutil.rmtree(left)
            for file, old, new in [("", None, None), *edits]:
                copy = tmp / "copy"
                shutil.rmtree(copy, ignore_errors=True)
                shutil.copytree(root, copy)
                if file:
                    f = copy / file
                    f.parent.mkdir(parents=True, exist_ok=True)
                    text = f.read_text() if old is not None else ""
                    if old is not None and fix(old) not in text:
                        raise SystemExit(f"{name}: {old} is not in {file}")
                    f.write_text(text.replace(fix(old), fix(new), 1) if old is not None else new)
                r = uv(copy, "lock", "--check", *script)
                words = r.stderr.strip().replace(str(copy), "")
                verdict = "current" if r.returncode == 0 else "stale" if "needs to be updated" in words else "error"
                verdicts.append({"project": name, "file": file, "old": fix(old), "new": fix(new), "uv": verdict})
                print(name, "|", file, "|", fix(old), "|", fix(new), "|", verdict, "|", words.splitlines()[-1][:150] if verdict == "error" else "", flush=True)
    (HERE / "verdicts.json").write_text(json.dumps(verdicts, indent=1) + "\n")


if __name__ == "__main__":
    main()
