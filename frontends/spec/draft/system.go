package draft

import (
	"slices"
	"strings"
)

// need says which Debian packages a Python package needs that its wheel, if it has one, does not bring.
type need struct {
	packages []string // normal names on the index
	module   string   // that the code imports; "" when it is not looked for
	debian   []string
	why      string // ends the sentence "NAME …"
}

// needs are the well-known cases, looked up in the packages themselves: the NEEDED entries of their
// libraries, and the build instructions of those that have no wheels for Linux. Packages whose wheels bring
// all they need (lxml, psycopg2-binary, opencv-python-headless, xgboost, soundfile) are missing on purpose.
// A compiler comes with libc6-dev, which gcc only recommends.
func needs() []need {
	return []need{
		{[]string{"opencv-python", "opencv-contrib-python"}, "cv2", []string{"libgl1", "libglib2.0-0"}, "loads libGL and GLib; opencv-python-headless does not"},
		{[]string{"psycopg2"}, "", []string{"gcc", "libc6-dev", "libpq-dev"}, "is compiled against libpq; psycopg2-binary is not"},
		{[]string{"psycopg"}, "", []string{"libpq5"}, "loads libpq, unless psycopg-binary is installed, too"},
		{[]string{"lightgbm"}, "lightgbm", []string{"libgomp1"}, "loads OpenMP's library"},
		{[]string{"pygraphviz"}, "pygraphviz", []string{"gcc", "graphviz", "libc6-dev", "libgraphviz-dev"}, "is compiled against Graphviz, and runs its programs"},
		{[]string{"graphviz", "pydot"}, "graphviz", []string{"graphviz"}, "runs the program dot"},
		{[]string{"mysqlclient"}, "MySQLdb", []string{"default-libmysqlclient-dev", "gcc", "libc6-dev", "pkg-config"}, "is compiled against MariaDB's library"},
		{[]string{"python-ldap"}, "ldap", []string{"gcc", "libc6-dev", "libldap2-dev", "libsasl2-dev"}, "is compiled against OpenLDAP"},
		{[]string{"pyaudio"}, "pyaudio", []string{"gcc", "libc6-dev", "portaudio19-dev"}, "is compiled against PortAudio"},
		{[]string{"sounddevice"}, "sounddevice", []string{"libportaudio2"}, "loads PortAudio"},
		{[]string{"pycairo"}, "cairo", []string{"gcc", "libc6-dev", "libcairo2-dev", "pkg-config"}, "is compiled against Cairo"},
		{[]string{"cairosvg", "cairocffi"}, "cairosvg", []string{"libcairo2"}, "loads Cairo"},
		{[]string{"weasyprint"}, "weasyprint", []string{"libharfbuzz-subset0", "libpango-1.0-0", "libpangoft2-1.0-0"}, "loads Pango"},
		{[]string{"python-magic"}, "magic", []string{"libmagic1"}, "loads libmagic"},
		{[]string{"pyzbar"}, "pyzbar", []string{"libzbar0"}, "loads ZBar"},
		{[]string{"pytesseract"}, "pytesseract", []string{"tesseract-ocr"}, "runs the program tesseract"},
		{[]string{"pdf2image"}, "pdf2image", []string{"poppler-utils"}, "runs Poppler's programs"},
		{[]string{"pydub", "ffmpeg-python"}, "pydub", []string{"ffmpeg"}, "runs the program ffmpeg"},
		{[]string{"gitpython"}, "git", []string{"git"}, "runs the program git"},
		{[]string{"uwsgi"}, "", []string{"gcc", "libc6-dev"}, "is compiled"},
	}
}

// suggestion is a layer of Debian packages that is probably wanted.
type suggestion struct {
	debian []string
	why    string
}

// system are the Debian packages that what is installed from a file needs.
func (f Folder) system(from From) []suggestion {
	var out []suggestion
	if from.git {
		out = append(out, suggestion{[]string{"git"}, "A package comes from a git repository."})
	}
	for _, n := range needs() {
		for _, p := range n.packages {
			if slices.Contains(from.packages, p) && !n.met(from.packages) {
				out = append(out, suggestion{n.debian, p + " " + n.why + "."})
				break
			}
		}
	}
	return out
}

// met says whether another package brings what is needed.
func (n need) met(packages []string) bool {
	return n.packages[0] == "psycopg" && slices.Contains(packages, "psycopg-binary")
}

// knownModule is a module and the package that it belongs to.
type knownModule struct{ module, packaged string }

// knownModules are modules of well-known packages. Others could be anything: a name on the index that
// nobody has checked is not suggested.
func knownModules() []knownModule {
	return []knownModule{
		{"PIL", "pillow"}, {"bs4", "beautifulsoup4"}, {"click", "click"}, {"cv2", "opencv-python-headless"}, {"datasets", "datasets"},
		{"django", "django"}, {"dotenv", "python-dotenv"}, {"fastapi", "fastapi"}, {"flask", "flask"}, {"gradio", "gradio"},
		{"httpx", "httpx"}, {"jax", "jax"}, {"lightgbm", "lightgbm"}, {"matplotlib", "matplotlib"}, {"numpy", "numpy"},
		{"openai", "openai"}, {"pandas", "pandas"}, {"polars", "polars"}, {"pyarrow", "pyarrow"}, {"pydantic", "pydantic"},
		{"requests", "requests"}, {"scipy", "scipy"}, {"seaborn", "seaborn"}, {"skimage", "scikit-image"}, {"sklearn", "scikit-learn"},
		{"sqlalchemy", "sqlalchemy"}, {"starlette", "starlette"}, {"streamlit", "streamlit"}, {"tensorflow", "tensorflow"}, {"torch", "torch"},
		{"torchvision", "torchvision"}, {"tqdm", "tqdm"}, {"transformers", "transformers"}, {"typer", "typer"}, {"uvicorn", "uvicorn"},
		{"xgboost", "xgboost"}, {"yaml", "pyyaml"},
	}
}

// guessed are the packages that the code's imports point to.
func (f Folder) guessed() []string {
	var out []string
	for _, k := range knownModules() {
		if slices.Contains(f.imports, k.module) {
			out = append(out, k.packaged)
		}
	}
	for _, n := range needs() {
		if n.module != "" && n.module != "cv2" && slices.Contains(f.imports, n.module) && !slices.Contains(out, n.packages[0]) {
			out = append(out, n.packages[0])
		}
	}
	slices.Sort(out)
	return out
}

// frameworks are the installed packages that come in other builds for GPUs.
func frameworks(packages []string) []string {
	var out []string
	for _, name := range []string{"torch", "jax", "tensorflow"} {
		if slices.ContainsFunc(packages, func(p string) bool { return p == name || name == "tensorflow" && strings.HasPrefix(p, "tensorflow-") }) {
			out = append(out, name)
		}
	}
	return out
}
