package draft_test

import "github.com/ibuild/ibuild/frontends/spec/draft"

// folder is the files of a test case by their names.
type folder map[string]string

// draftCase is a folder and what the user says; its draft is testdata/NAME.yaml.
type draftCase struct {
	name   string
	files  folder
	from   string // "" is the default
	answer draft.Answers
}

const uvProject = `[project]
name = "Night_Train"
version = "1"
requires-python = ">=3.11,<3.14"
dependencies = ["torch", "opencv-python", "lightgbm"]
`

const uvLock = `version = 1
[[package]]
name = "torch"
version = "2.6.0"
[[package]]
name = "opencv-python"
version = "4.12.0"
[[package]]
name = "lightgbm"
version = "4.6.0"
[[package]]
name = "soundfile"
version = "0.13.1"
[[package]]
name = "tool"
version = "0.1"
source = { git = "https://example.com/tool#0123" }
`

const condaEnvironment = `name: Sky Maps
channels: [conda-forge]
dependencies:
  - python=3.11
  - gdal
  - pip
  - pip:
      - psycopg2>=2.9
      - python-magic
`

const poetryProject = `[tool.poetry]
name = "shop"
[tool.poetry.dependencies]
python = "^3.11"
django = "^5"
[tool.poetry.scripts]
shop = "shop.cli:main"
`

const script = "# /// script\n# requires-python = \">=3.12\"\n# dependencies = [\"torch\", \"mysqlclient\"]\n# ///\nimport torch\n"

const pixiScript = "# /// script\n# dependencies = [\"rich\"]\n# [tool.pixi.workspace]\n# channels = [\"conda-forge\"]\n# ///\nprint(1)\n"

func draftCases() []draftCase {
	return []draftCase{
		{name: "empty"},
		{name: "imports", files: folder{
			"main.py": "import os, numpy as np; import yaml\nfrom sklearn import svm\ntry:\n    import lightgbm\nexcept ImportError: import cv2\nfrom . import x\ns = 'import pandas'\n"}},
		{name: "uv", files: folder{"pyproject.toml": uvProject, "uv.lock": uvLock, ".python-version": "3.12.4\n", "src/night_train/__init__.py": "", "src/night_train/__main__.py": "", "src/night_train/x.py": "",
			"tests/test_x.py": "", "requirements-dev.txt": "pytest\n", "requirements.txt": "torch\n", ".dockerignore": "*.pt\n", "templates/a.html": ""}},
		{name: "uv-script-entry", files: folder{"uv.lock": "version = 1\n", "pyproject.toml": "[project]\nname = \"x\"\nversion = \"1\"\n[project.scripts]\nserve-it = \"x:main\"\n[build-system]\nrequires = [\"hatchling\"]\n", "src/x/__init__.py": ""}},
		{name: "poetry", files: folder{"pyproject.toml": poetryProject, "poetry.lock": "[[package]]\nname = \"django\"\nversion = \"5.1\"\n", "manage.py": "", "shop/__init__.py": "", "app.py": ""}},
		{name: "poetry-no-lock", files: folder{"pyproject.toml": poetryProject}},
		{name: "pixi", files: folder{"pixi.toml": "[workspace]\nchannels = [\"conda-forge\"]\n", "pixi.lock": "version: 6\n", "train.py": "import torch\n"}},
		{name: "pixi-pyproject", files: folder{"pyproject.toml": "[project]\nname = \"p\"\n[tool.pixi.workspace]\nchannels = [\"conda-forge\"]\n"}},
		{name: "conda", files: folder{"environment.yml": condaEnvironment, "app.py": "", "requirements.txt": "requests\n"}},
		{name: "requirements", files: folder{"requirements.txt": "--extra-index-url https://example.com/simple\nnumpy==2.0 \\\n  --hash=sha256:00\npygraphviz # draws\n-r more.txt\njax[cuda12]>=0.5\ngit+https://example.com/x\n",
			"requirements-gpu.txt": "cupy\n", "requirements/test.txt": "pytest\n", "requirements.in": "numpy\n", "serve.py": "", "lib/serve.py": "", "model.py": ""}, answer: draft.Answers{Name: "served", Registry: "localhost:5000/me", Python: "3.13"}},
		{name: "pyproject", files: folder{"pyproject.toml": "[project]\nname = \"x\"\nrequires-python = \"==3.9.*\"\ndependencies = [\"numpy>=2\", \"numpy>=2\", \"tensorflow[and-cuda]==2.18.0 ; python_version < '3.13'\", \"own @ file:///srv/own\", \"p @ https://u:secret@example.com/p.whl\"]\n", "x/__init__.py": "", "x/__main__.py": ""}},
		{name: "setup", files: folder{"setup.py": "from setuptools import setup\nsetup(install_requires=['numpy'])\n", "pkg/__init__.py": "import numpy, git\n"}},
		{name: "script", files: folder{"train.py": script, "data.ipynb": "{}"}, from: "train.py"},
		{name: "pixi-script", files: folder{"draw.py": pixiScript, "Dockerfile": "FROM scratch\n"}},
		{name: "dockerfile", files: folder{"Dockerfile": "FROM scratch\n"}, from: "Dockerfile", answer: draft.Answers{Name: "web"}},
		{name: "same-names", files: folder{"requirements.txt": "numpy\n", "model/__init__.py": "", "src/model/__init__.py": "", "src/a b/x.py": "", "-x.py": "", "o?dd.py": "", "3/main.py": ""}, answer: draft.Answers{Entry: []string{"gunicorn", "model:app", "--bind=[::]:80"}}},
		{name: "many-files", files: manyFiles(), answer: draft.Answers{NoEntry: true}},
	}
}

func manyFiles() folder {
	f := folder{"requirements.txt": "xgboost\n"}
	for c := 'a'; c <= 'n'; c++ {
		f[string(c)+".py"] = ""
	}
	return f
}
