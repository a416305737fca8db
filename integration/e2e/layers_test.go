//go:build integration

package e2e

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/ibuild/ibuild/integration/imagetest"
)

// layerCase is a spec that the examples have no place for.
type layerCase struct {
	name string
	from string // folder below frontends/spec/testdata whose files it uses, "" for none
	spec string
	run  []string
	want string
}

func layerCases() []layerCase {
	return []layerCase{
		{
			name: "pylock", from: "pylock", spec: "python_version: \"3.11\"\nrequirements: pylock.toml\n",
			run: []string{"python", "-c", "import attrs, iniconfig, packaging; print('ok')"}, want: "ok\n",
		},
		{
			name: "only what is imported", from: "bundle", spec: "python_version: \"3.11\"\nsource_root: app\nsource_copy_mode: auto\nentrypoint: [python, main.py]\n",
			run: []string{"sh", "-c", "ls; ls lib; python main.py && echo ran"}, want: "lib\nmain.py\n__init__.py\na.py\nran\n",
		},
		{
			name: "all code", from: "bundle", spec: "python_version: \"3.11\"\nlayers: [code_bundle: {src: app, exclude: [lib/b.py]}]\n",
			run: []string{"sh", "-c", "ls; ls lib"}, want: "lib\nmain.py\n__init__.py\na.py\n",
		},
		{
			name: "shell", spec: "base_image: python:3.11-slim-bookworm\nlayers:\n  - shell: [/bin/bash, -o, pipefail, -c]\n  - run: '[[ a == a ]] && echo bash >/srv/out; false | true || echo pipefail >>/srv/out'\n",
			run: []string{"cat", "/srv/out"}, want: "bash\npipefail\n",
		},
		{
			name: "a venv that sees the image's own packages", spec: "base_image: python:3.11-slim-bookworm\npython_exec: /usr/local/bin/python3\npackages: [iniconfig]\n",
			run:  []string{"python", "-c", "import sys, iniconfig, pip; print(sys.prefix, iniconfig.__file__.startswith(sys.prefix), pip.__file__.startswith(sys.prefix))"},
			want: "/opt/venv True False\n",
		},
		{
			name: "uv project in the image's own Python", from: "uvproject", spec: "base_image: python:3.11-slim-bookworm\nlayers: [uv_project: {path: ., install: project}]\n",
			run: []string{"python3", "-c", "import sys, shop, core, packaging; print(shop.x, shop.__file__.startswith(sys.prefix))"}, want: "1 True\n",
		},
		{
			name: "poetry project in the image's own Python", from: "poetry", spec: "base_image: python:3.11-slim-bookworm\nlayers: [poetry_project: {path: ., install: project}]\n",
			run: []string{"python3", "-c", "import sys, letters, iniconfig; print(letters.__file__.startswith(sys.prefix))"}, want: "True\n",
		},
		{
			name: "recorded for its start", spec: "python_version: \"3.11\"\nruntime_packages: [\"numpy>=2\", rich]\n",
			run: []string{"sh", "-c", "echo \"$IBUILD_RUNTIME_PACKAGES\"; python -c 'import numpy' 2>&1 | tail -1"}, want: "numpy>=2\nrich\nModuleNotFoundError: No module named 'numpy'\n",
		},
	}
}

// TestLayers builds kinds of layers that no example has, by root in ibuild's process and by the rootless daemon,
// and runs the images: they are the same.
func TestLayers(t *testing.T) {
	for _, x := range layerCases() {
		t.Run(x.name, func(t *testing.T) {
			dir := folder(t)
			if x.from != "" {
				if err := os.CopyFS(filepath.Join(dir, "app"), os.DirFS(filepath.Join("../../frontends/spec/testdata", x.from))); err != nil {
					t.Fatal(err)
				}
				dir = filepath.Join(dir, "app")
			}
			if err := os.WriteFile(filepath.Join(dir, "image.yaml"), []byte(x.spec), 0o644); err != nil {
				t.Fatal(err)
			}
			var all agreement
			enginesAtOnce(t, rootAndRemote(t), func(t *testing.T, e engine) {
				img := pull(t, e.push(t, "layers/"+e.name, dir), amd64)
				all.add(t, img, amd64, func() { prints(t, img, imagetest.RunOptions{Entrypoint: x.run}, x.want) })
			})
		})
	}
}
