package project

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ibuild/ibuild/frontends/spec/python"
)

// TestBounded feeds what is made to take long. Each takes well under a second; the limit is for slow machines.
func TestBounded(t *testing.T) {
	repeat := func(n int, format string) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, format, i)
		}
		return b.String()
	}
	head := "[project]\nname = \"app\"\nversion = \"1\"\nrequires-python = \">=3.10\"\n"
	lock := "version = 1\nrevision = 3\nrequires-python = \">=3.10\"\n[[package]]\nname = \"app\"\nversion = \"1\"\nsource = { virtual = \".\" }\n"
	marker := strings.TrimSuffix(repeat(20000, "python_version < '3.%d' or "), " or ")
	extras := strings.TrimSuffix(repeat(60, "(extra == 'e%[1]d' and python_version < '3.%[1]d' and platform_machine == 'm%[1]d') or "), " or ")
	for name, files := range map[string][2]string{
		"requirements": {head + "dependencies = [" + repeat(2900, "'a%d', ") + "]\n", lock + "[package.metadata]\nrequires-dist = [" + repeat(30000, "{name='b%d'},") + "]\n"},
		"one name":     {head + "dependencies = [" + repeat(2900, "'a>%d', ") + "]\n", lock + "[package.metadata]\nrequires-dist = [" + repeat(20000, "{name='a',specifier='<%d'},") + "]\n"},
		"too many":     {head + "dependencies = [" + repeat(90000, "'a%d',") + "]\n", lock},
		"bad":          {head + "dependencies = [" + repeat(2900, "'=%d',") + "]\n", lock},
		"marker":       {head + "dependencies = [\"a; " + marker + "\"]\n", lock + "[package.metadata]\nrequires-dist = [{name='a', marker=\"" + marker + "\"}]\n"},
		"environments": {head + "dependencies = [\"a; " + extras + "\"]\n", lock + "[package.metadata]\nrequires-dist = [{name='a', marker=\"" + extras + "\"}]\n"},
		"groups":       {head + "[dependency-groups]\ng0 = [" + repeat(1000, "'x%d',") + "]\n" + repeat(190, "h%d = [{include-group='g0'}]\n"), lock},
		"many groups":  {head + "[dependency-groups]\n" + repeat(1900, "g%d = []\n"), lock},
		"keys":         {head + repeat(20000, "g%d = []\n"), lock},
		"lock keys":    {head, lock + "[x]\n" + repeat(200000, "g%d = []\n")},
		"sources":      {head + "dependencies = ['x']\n[tool.uv.sources]\n" + repeat(1900, "s%d = {path='s'}\n"), lock},
		"packages":     {head, lock + repeat(30000, "[[package]]\nname='p%d'\nsource={directory='d'}\n")},
		"same package": {head, lock + repeat(30000, "[[package]]\nname='app'\nsource={path='d%d.whl'}\n")},
		"globs":        {head + "[tool.uv.workspace]\nmembers = [" + repeat(1000, "'**/**/**/*%d*',") + "]\n", lock},
		"dots":         {head + "[tool.poetry]\n" + strings.Repeat("a.", 400000) + "a = 1\n", lock},
		"passwords":    {head + repeat(20000, "# https://u:p%d@h\n"), lock},
	} {
		t.Run(name, func(t *testing.T) {
			fsys := tree("pyproject.toml", files[0], "uv.lock", files[1], "poetry.lock", "[metadata]\nlock-version='2.1'\ncontent-hash='x'\n", "pixi.toml", files[0], "a/b/c/d/e.txt", "")
			start := time.Now()
			_, err := ReadUV(python.Tree{FS: fsys}, UVOptions{Manifest: "pyproject.toml"})
			sound(t, err)
			_, err = ReadPoetry(python.Tree{FS: fsys}, PoetryOptions{Manifest: "pyproject.toml"})
			sound(t, err)
			if took := time.Since(start); took > 20*time.Second {
				t.Errorf("took %v", took)
			}
			t.Logf("%v, %d findings", time.Since(start), strings.Count(text(err), "\n"))
		})
	}
}
