package llb

import (
	"fmt"
	"slices"
	"strings"
)

// The recipe: what ibuild's own steps are made of. A change here changes every image made from a spec,
// so it is one list, and the identity of an image covers it through the LLB that it produces.
const (
	// UVImage holds the uv binary that Python steps mount; it never becomes part of an image.
	UVImage = "ghcr.io/astral-sh/uv:0.13.9"
	// VirtualEnv is where Python packages go.
	VirtualEnv = "/opt/venv"
	// DefaultUser is the ordinary user of a Debian Python base, with uid 1000.
	DefaultUser = "app"
	// DefaultHome is its home and the image's workdir.
	DefaultHome = "/home/app"

	uvPath  = "/run/ibuild/bin/uv"
	uvCache = "/run/ibuild/cache/uv"
)

// UVVersion is the release of uv in UVImage.
func UVVersion() string { return UVImage[strings.LastIndexByte(UVImage, ':')+1:] }

// PythonVersions that the Debian Python base supports, newest first.
func PythonVersions() []string { return []string{"3.14", "3.13", "3.12", "3.11", "3.10"} }

// DebianPython is the reference of the Debian base with the given Python ("3.12").
func DebianPython(version string) string {
	return "docker.io/library/python:" + version + "-slim-bookworm"
}

// debianSetup makes the user and the virtual environment. It takes the interpreter that the image has:
// downloads are off, so a wrong version is an error and not a second Python.
const debianSetup = `set -eu
if ! id -u "$2" >/dev/null 2>&1; then useradd --uid 1000 --create-home --home-dir "$3" --shell /bin/sh "$2"; fi
rm -f /var/log/lastlog /var/log/faillog /etc/passwd- /etc/group- /etc/shadow- /etc/gshadow- /etc/subuid- /etc/subgid-
exec "$1" venv --quiet --python "$4" "$5"`

// DebianSetup returns the steps that every Debian Python base starts with: an ordinary user with uid
// 1000, a virtual environment for the given Python, and the environment variables that make it the default.
func DebianSetup(python string, at Lines) []Step {
	return []Step{
		Exec{
			Title: "python " + python + ": virtual environment, user " + DefaultUser, Lines: at, Root: true, Kind: PythonSetup, Native: NativeAsIs,
			Args:   []string{"/bin/sh", "-c", debianSetup, "sh", uvPath, DefaultUser, DefaultHome, python, VirtualEnv},
			Env:    uvEnv(),
			Mounts: uvMounts(),
		},
		Env{Lines: at, Key: "VIRTUAL_ENV", Value: VirtualEnv},
		Env{Lines: at, Key: "UV_LINK_MODE", Value: "copy"},
		PathPrepend{Lines: at, Dir: VirtualEnv + "/bin"},
		Workdir{Lines: at, Path: DefaultHome, Exists: true},
	}
}

// PythonVenv makes a virtual environment of an interpreter that an image has, which sees all packages that are
// installed for it, and makes it the default: what is installed from then on leaves the image's own packages
// alone.
func PythonVenv(interpreter string, at Lines) []Step {
	return []Step{
		Exec{
			Title: "virtual environment of " + interpreter, Lines: at, Root: true,
			Args: []string{uvPath, "venv", "--quiet", "--system-site-packages", "--python", interpreter, VirtualEnv},
			Env:  uvEnv(), Mounts: uvMounts(),
		},
		Env{Lines: at, Key: "VIRTUAL_ENV", Value: VirtualEnv},
		Env{Lines: at, Key: "UV_LINK_MODE", Value: "copy"},
		PathPrepend{Lines: at, Dir: VirtualEnv + "/bin"},
	}
}

// aptConf keeps downloaded packages in the cache mount: Debian's images have a hook that deletes them.
const aptConf = `APT::Keep-Downloaded-Packages "true";
Binary::apt::APT::Keep-Downloaded-Packages "true";
#clear DPkg::Post-Invoke;
#clear APT::Update::Post-Invoke;
`

// aptScript takes the machine's mirrors where they are for this very release ([MachineList] names its
// codename first) and keeps the image's own third-party repositories; it removes the logs that would make
// two runs differ. $parts is in a cache mount, so it is in no layer.
const aptScript = `set -eu
export DEBIAN_FRONTEND=noninteractive
own=/run/ibuild/machine/apt.sources parts=/var/cache/apt/ibuild.parts opts='' codename='' key='' archs=''
if [ -s "$own" ]; then
  { read -r _ _ codename && read -r _ key archs; } <"$own" || :
  if [ "$key" != architecture: ]; then archs=$(dpkg --print-architecture); fi
  case "$codename" in "*" | "$(. /etc/os-release && echo "${VERSION_CODENAME:-?}")")
    case " $archs " in *" $(dpkg --print-architecture) "*)
      opts="-o Dir::Etc::sourcelist=$own -o Dir::Etc::sourceparts=$parts"
      rm -rf "$parts"
      mkdir -p "$parts"
      for f in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
        if [ -f "$f" ]; then grep -Ev '(debian\.org|ubuntu\.com)/' "$f" >"$parts/${f##*/}.list" || :; fi
      done
      for f in /etc/apt/sources.list.d/*.sources; do
        if [ -f "$f" ] && ! grep -Eq '^[^#]*(debian\.org|ubuntu\.com)/' "$f"; then cp "$f" "$parts/"; fi
      done
    esac
  esac
fi
apt-get -q $opts update
apt-get -q $opts install -y -o Dpkg::Use-Pty=0 --no-install-recommends -- "$@"
rm -rf "$parts" /var/log/apt/* /var/log/dpkg.log /var/log/alternatives.log /var/cache/debconf/*-old /var/lib/dpkg/*-old /var/cache/ldconfig/aux-cache`

// Apt installs OS packages with apt: update and install in one step, lists and packages in cache
// mounts that one step uses at a time. The list is sorted, so its order in the source means nothing.
func Apt(packages []string, at Lines, secrets ...Mount) Exec {
	packages = slices.Sorted(slices.Values(packages))
	return Exec{
		Title: "apt: " + strings.Join(packages, " "), Lines: at, Root: true, Kind: Packages,
		Args: append([]string{"/bin/sh", "-c", aptScript, "sh"}, packages...),
		Mounts: append([]Mount{
			{Kind: CacheMount, Target: "/var/cache/apt", ID: "apt/cache", Locked: true, PerPlatform: true},
			{Kind: CacheMount, Target: "/var/lib/apt/lists", ID: "apt/lists", Locked: true, PerPlatform: true},
			{Kind: DataMount, Target: "/etc/apt/apt.conf.d/zz-ibuild", Data: []byte(aptConf)},
		}, secrets...),
	}
}

// Command runs one shell command.
func Command(command string, at Lines, secrets ...Mount) Exec {
	return Exec{
		Title: "run: " + firstLine(command), Lines: at,
		Args:   []string{"/bin/sh", "-c", command},
		Mounts: append([]Mount{{Kind: ImageMount, Ref: UVImage, Source: "/uv", Target: uvPath}}, secrets...),
		Env:    []string{"UV_CACHE_DIR=" + uvCache},
	}
}

// Pip is one `uv pip install`.
type Pip struct {
	Title        string
	Packages     []string // PEP 508 requirements, passed as arguments
	Requirements string   // path of a mounted requirements file, "" for none
	Dir          string   // folder that relative paths in it begin in, "" for the workdir
	Backend      string   // uv's --torch-backend, "" for none
	Index        string   // index that replaces PyPI, "" for the machine's default
	ExtraIndexes []string
	Pre          bool
	WheelsOnly   bool
	Args         []string // extra arguments of the user
	Mounts       []Mount
	Lines        Lines
}

// Step is the Exec that installs p.
func (p Pip) Step() Exec {
	args, env := []string{uvPath, "pip", "install"}, uvEnv(p.Mounts...)
	if p.Index != "" {
		args = append(args, "--default-index", p.Index)
		env = append(env, "UV_INDEX=") // the machine's further indexes would go before it
	}
	for _, x := range p.ExtraIndexes {
		args = append(args, "--index", x)
	}
	if p.Pre {
		args = append(args, "--prerelease", "allow")
	}
	kind := Ordered
	if p.WheelsOnly {
		args = append(args, "--only-binary", ":all:")
		kind = WheelsOnly
	}
	if p.Backend != "" {
		args = append(args, "--torch-backend", p.Backend)
	}
	if p.Dir != "" {
		args = append(args, "--directory", p.Dir)
	}
	args = append(args, p.Args...)
	if p.Requirements != "" {
		args = append(args, "--requirements", p.Requirements)
		if strings.HasSuffix(p.Requirements, ".toml") { // pylock.toml (PEP 751)
			args = append(args, "--preview-features", "pylock")
		}
	}
	if len(p.Packages) > 0 {
		args = append(append(args, "--"), p.Packages...)
	}
	title := p.Title
	if title == "" {
		title = "pip: " + strings.Join(p.Packages, " ")
	}
	return Exec{
		Title: title, Lines: p.Lines, Root: true, Kind: kind, Args: args,
		Env: env, Mounts: append(uvMounts(), p.Mounts...), SystemPython: true, Native: NativeUV,
	}
}

// ScriptDir is where the header of a uv script is mounted while its dependencies are installed.
const ScriptDir = "/run/ibuild/script"

// UVScript installs what the PEP 723 header of a script asks for into the virtual environment, or into the image's
// own Python where there is none, beside what is there already. Only the
// header (and lock) are given to the step, under a fixed name, so that a change of the script's body is
// none of its business. uv reads the header itself, so everything in [tool.uv] means what uv says it means,
// but that nothing is editable: local packages are among the mounts, and gone after the step.
func UVScript(header, lock []byte, at Lines, more ...Mount) Exec {
	args := []string{uvPath, "sync", "--script", ScriptDir + "/script.py", "--active", "--inexact", "--no-progress", "--no-editable"}
	mounts := append(uvMounts(), Mount{Kind: DataMount, Target: ScriptDir + "/script.py", Data: header})
	title := "uv: dependencies of the script"
	if lock != nil {
		args = append(args, "--locked")
		mounts = append(mounts, Mount{Kind: DataMount, Target: ScriptDir + "/script.py.lock", Data: lock})
		title += " (locked)"
	}
	return Exec{
		Title: title, Lines: at, Root: true, Args: args, Env: uvEnv(more...), Mounts: append(mounts, more...), SystemPython: true, Native: NativeUV,
	}
}

// uvEnv are the variables of a step of uv. Where local packages are among the mounts, uv does not write down
// when and from where it was installed: times and paths of a build are nobody's business.
func uvEnv(mounts ...Mount) []string {
	env := []string{
		"UV_CACHE_DIR=" + uvCache,
		"UV_LINK_MODE=copy",
		"UV_NO_PROGRESS=1",
		"UV_PYTHON_DOWNLOADS=never",
	}
	if slices.ContainsFunc(mounts, func(m Mount) bool { return m.Kind == LocalMount }) {
		env = append(env, "UV_NO_INSTALLER_METADATA=1")
	}
	return env
}

func uvMounts() []Mount {
	return []Mount{
		{Kind: ImageMount, Ref: UVImage, Source: "/uv", Target: uvPath},
		{Kind: CacheMount, Target: uvCache, ID: "uv", PerPlatform: true},
	}
}

func firstLine(s string) string {
	s = strings.TrimSpace(s)
	if head, _, more := strings.Cut(s, "\n"); more {
		return fmt.Sprintf("%s …", head)
	}
	return s
}
