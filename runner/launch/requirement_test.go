package launch

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/ibuild/ibuild/runner/gke"
)

// TestFilter says for each text what stays, and which requirements are dropped.
func TestFilter(t *testing.T) {
	cases := map[string]struct {
		text, kept string
		dropped    []string
	}{
		"nothing":                     {"numpy\n", "numpy\n", nil},
		"all four":                    {"jax\njaxlib\nlibtpu\nlibtpu-nightly\n", "\n\n\n\n", []string{"jax", "jaxlib", "libtpu", "libtpu-nightly"}},
		"other spellings":             {"JAX\nLibTPU_Nightly>=1\n", "\n\n", []string{"JAX", "LibTPU_Nightly>=1"}},
		"names that begin so":         {"jaxtyping\njax-md\nlibtpu2\n", "jaxtyping\njax-md\nlibtpu2\n", nil},
		"extras, versions, marker":    {"jax[tpu]>=0.4,<0.6 ; python_version>='3.11'\n", "\n", []string{"jax[tpu]>=0.4,<0.6 ; python_version>='3.11'"}},
		"from an address":             {"jax @ https://x.example/jax.whl\n", "\n", []string{"jax @ https://x.example/jax.whl"}},
		"continued hashes":            {"jax==1 \\\n  --hash=sha256:a \\\n  --hash=sha256:b\nnumpy\n", "\n\n\nnumpy\n", []string{"jax==1"}},
		"hashes in one line":          {"jax==1 --hash=sha256:a\n", "\n", []string{"jax==1"}},
		"windows lines":               {"jax \\\r\n  >=1\r\nnumpy\r\n", "\r\n\r\nnumpy\r\n", []string{"jax   >=1"}},
		"no line end":                 {"numpy\njax", "numpy\n", []string{"jax"}},
		"a comment that goes on not":  {"# about jax \\\njax\n", "# about jax \\\n\n", []string{"jax"}},
		"a comment after it":          {"jax  # the newest\n", "\n", []string{"jax"}},
		"kept":                        {"jax # ibuild:keep\njaxlib #kn:keep because\n", "jax # ibuild:keep\njaxlib #kn:keep because\n", nil},
		"kept at its last line":       {"jax \\\n >=1 # kn:keep\n", "jax \\\n >=1 # kn:keep\n", nil},
		"a mark that is none":         {"jax # ibuild:keeper\njax # keep\njax # ibuild: keep\n", "\n\n\n", []string{"jax", "jax", "jax"}},
		"options stay":                {"--index-url https://x.example/jax\n-r jax.txt\n-c jaxlib.txt\n", "--index-url https://x.example/jax\n-r jax.txt\n-c jaxlib.txt\n", nil},
		"what is no requirement":      {"jax = 1\n", "jax = 1\n", nil},
		"a fragment is not a comment": {"x @ https://x.example/x.zip#egg=jax\n", "x @ https://x.example/x.zip#egg=jax\n", nil},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got := filter("requirements.txt", []byte(c.text))
			var dropped []string
			for _, d := range got.dropped {
				dropped = append(dropped, d.Text)
			}
			if string(got.text) != c.kept {
				t.Errorf("%q stays, want %q", got.text, c.kept)
			}
			for i := range c.dropped {
				c.dropped[i] = strings.Join(strings.Fields(c.dropped[i]), " ")
			}
			if diff := cmp.Diff(c.dropped, dropped); diff != "" {
				t.Errorf("dropped (- is wanted, + is):\n%s", diff)
			}
		})
	}
}

// TestLocalLines finds lines that name a path on this machine.
func TestLocalLines(t *testing.T) {
	local := []string{"-e .", "-e.", "--editable=./x", "--editable ./x", "./x", "../x.whl", "x.whl", "/abs/x.tar.gz", "x @ file:///x", "file:///x", "-f wheels", "-fwheels", "--find-links=./wheels", "-f file:///wheels", "pkg[extra] @ ./x"}
	for _, text := range local {
		l := logicalLines([]byte(text + "\n"))[0]
		if e := l.local("r.txt"); e == nil || e.Line != 1 || e.File != "r.txt" || e.Hint == "" {
			t.Errorf("%s: %v", text, e)
		}
	}
	for _, text := range []string{"numpy", "x @ https://x.example/x.whl", "x @ git+https://x.example/x.git", "-f https://x.example/links.html", "--index-url https://x.example/", "--pre", "-r x.txt", "", "--hash=sha256:a"} {
		l := logicalLines([]byte(text + "\n"))[0]
		if e := l.local("r.txt"); e != nil {
			t.Errorf("%s: %v", text, e)
		}
	}
}

// FuzzFilter looks for texts that make the filter lose lines that it does not drop, or stand still.
func FuzzFilter(f *testing.F) {
	for _, s := range []string{"jax\n", "jax \\\n x", "\\\n\\\n#", "a # kn:keep", "\r\njaxlib\r", "jax==1 \\\n --hash=a", "-e .\n", "\x00jax\n", "jax[a,b] ; x\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		got := filter("r.txt", data)
		if bytes.Count(got.text, []byte("\n")) != bytes.Count(data, []byte("\n")) {
			t.Fatalf("%q has another number of lines: %q", data, got.text)
		}
		if len(got.dropped) == 0 && !bytes.Equal(got.text, data) {
			t.Fatalf("nothing is dropped from %q, and it becomes %q", data, got.text)
		}
		again := filter("r.txt", got.text)
		if len(again.dropped) > 0 {
			t.Fatalf("%q: after the filter, %v is dropped still", data, again.dropped)
		}
		for _, r := range got.dropped {
			if r.Line < 1 || r.Keep || !replaced(r.name()) {
				t.Fatalf("%q: %+v is dropped", data, r)
			}
		}
	})
}

// FuzzLocks reads locks and manifests of any bytes.
func FuzzLocks(f *testing.F) {
	f.Add([]byte(uvLock), []byte(uvProject))
	f.Add([]byte(pylock), []byte("[project]\ndependencies = [\"a\"]\n[tool.uv.sources]\na = { path = \"b\" }\n"))
	f.Fuzz(func(t *testing.T, lock, manifest []byte) {
		dir := folder(t, map[string]string{"uv.lock": string(lock), "pyproject.toml": string(manifest), "sub/pyproject.toml": string(manifest), "pylock.toml": string(lock)})
		for _, kind := range []needKind{needUVLock, needPylock, needProject} {
			n := needs{kind: kind, dir: dir, file: string(kind), manifest: string(needProject)}
			d, err := n.declare(shower(dir), plainSource())
			if err == nil {
				_, _ = d.install(shower(dir))
				_ = deviceOf(accelerator("l4"), "3.12").choose(d.all, d.dropped)
			}
		}
		s := search{start: dir + "/sub", show: shower(dir)}
		_, _ = s.discover()
	})
}

// FuzzHeader plans scripts of any bytes.
func FuzzHeader(f *testing.F) {
	f.Add([]byte(header))
	f.Add([]byte("# /// script\r\n# dependencies = ['jax']\r\n# ///\r\n"))
	f.Add([]byte("# /// script\n#\n# ///"))
	f.Fuzz(func(t *testing.T, script []byte) {
		dir := folder(t, map[string]string{"t.py": string(script)})
		for _, mode := range []Mode{Bundled, Prebuilt} {
			_, _ = NewPlan(Options{Source: dir + "/t.py", Repository: "r.example/x", Mode: mode, Accelerator: accelerator("v5e"), Dir: dir, Home: dir})
		}
	})
}

// TestVariants is what each kind of accelerator adds.
func TestVariants(t *testing.T) {
	requirements := func(texts ...string) (all []requirement) {
		for _, text := range texts {
			text, keep := strings.CutSuffix(text, " keep")
			all = append(all, requirement{Text: text, File: "r.txt", Keep: keep})
		}
		return all
	}
	type want struct{ packages, args []string }
	cases := []struct {
		name  string
		texts []string
		on    string
		want  want
	}{
		{"none of them", []string{"numpy"}, "l4", want{}},
		{"jax on a GPU", []string{"jax==0.5"}, "l4", want{packages: []string{"jax[cuda12]==0.5"}}},
		{"jax on a TPU", []string{"jax[cuda12,k8s]"}, "v5e", want{[]string{"jax[k8s,tpu]"}, []string{"--find-links", libtpuOfJAX}}},
		{"jax on a CPU", []string{"jax[cuda12]"}, "cpu", want{packages: []string{"jax"}}},
		{"jaxlib alone", []string{"jaxlib==0.5"}, "l4", want{packages: []string{"jax[cuda12]"}}},
		{"libtpu alone", []string{"libtpu"}, "l4", want{}},
		{"libtpu without JAX on a TPU", []string{"libtpu<1 ; python_version < '3.11'", "libtpu ; python_version >= '3.11'"}, "v5e",
			want{[]string{"libtpu<1 ; python_version < '3.11'", "libtpu ; python_version >= '3.11'"}, []string{"--find-links", libtpuOfJAX}}},
		{"two lines with markers", []string{"jax<0.5 ; python_version < '3.11'", "jax>=0.5 ; python_version >= '3.11'"}, "l4",
			want{packages: []string{"jax[cuda12]<0.5 ; python_version < '3.11'", "jax[cuda12]>=0.5 ; python_version >= '3.11'"}}},
		{"flax brings jax", []string{"flax"}, "l4", want{packages: []string{"jax[cuda12]"}}},
		{"kept by the user", []string{"jax keep", "flax"}, "l4", want{}},
		{"torch on a CPU", []string{"torch", "torchvision"}, "cpu", want{args: []string{"--torch-backend=cpu"}}},
		{"torch for another index", []string{"torch==2.7.0+cu126"}, "cpu", want{}},
		{"torch on a TPU", []string{"torch", "torch_xla[tpu]"}, "v5e", want{args: []string{"--find-links", libtpuOfTorch, "--torch-backend=cpu"}}},
		{"torch on arm64", []string{"torch"}, "gb200", want{args: []string{"--torch-backend=cu128"}}},
		{"tensorflow on a GPU", []string{"tensorflow"}, "l4", want{packages: []string{"tensorflow[and-cuda]"}}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			all := requirements(c.texts...)
			_, dropped := filterList(all)
			v := deviceOf(accelerator(c.on), "3.12").choose(all, dropped)
			if diff := cmp.Diff(c.want, want{v.packages, v.args}, cmp.AllowUnexported(want{})); diff != "" {
				t.Errorf("the variant (- is wanted, + is):\n%s", diff)
			}
		})
	}
}

// TestBaseSpecs plans the base images: JAX for each kind, and nothing that an arm64 machine is needed for.
func TestBaseSpecs(t *testing.T) {
	for kind, want := range map[gke.Kind]string{gke.CPU: "jax", gke.GPU: "jax[cuda12]", gke.TPU: "jax[tpu]"} {
		plan, err := BaseSpec(kind, "").Plan(plainSource())
		if err != nil {
			t.Fatal(err)
		}
		var b strings.Builder
		describeBuild(&b, plan)
		if !strings.Contains(b.String(), `"`+want+`"`) || len(plan.Platforms) != len(BasePlatforms(kind)) {
			t.Errorf("%s: %s", kind, b.String())
		}
	}
}
