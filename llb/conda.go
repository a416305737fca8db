package llb

import (
	"slices"
	"strings"
)

const (
	// MicromambaImage holds the micromamba binary that conda steps mount.
	MicromambaImage = "docker.io/mambaorg/micromamba:2.3.2"
	// CondaPrefix is where conda packages go.
	CondaPrefix = "/opt/conda"

	micromambaPath = "/run/ibuild/bin/micromamba"
	// condaRoot is micromamba's own folder. It takes one that has "pkgs" in it without a question, so that is
	// what the cache is mounted at.
	condaRoot = "/run/ibuild/cache/conda"
)

// condaScript adds to the environment where there is one. micromamba notes in the home folder which
// environments it has made; that is of no use in an image.
const condaScript = `set -eu
micromamba=$1 prefix=$2 verb=create note=${HOME:-/root}/.conda
shift 2
if [ -d "$prefix/conda-meta" ]; then verb=install; fi
[ -e "$note" ] || trap 'rm -rf "$note"' EXIT
"$micromamba" $verb -y --no-rc -p "$prefix" "$@"`

// Conda is one `micromamba create`, or install where the environment at CondaPrefix is there already.
type Conda struct {
	Title    string
	Packages []string // match specs, in any order
	Channels []string // names or URLs, the first one counts most
	Env      []string
	Mounts   []Mount
	Lines    Lines
}

// Install is the step that installs c. Nothing but the channels counts: no configuration of the image's, and
// no channel that is not named. Clients keep packages by name, version and build alone, so every platform has
// a cache of its own; they lock it themselves.
func (c Conda) Install() Exec {
	args := []string{"/bin/sh", "-c", condaScript, "sh", micromambaPath, CondaPrefix, "-r", condaRoot, "--override-channels", "--channel-priority", "strict"}
	for _, channel := range c.Channels {
		args = append(args, "-c", channel)
	}
	title := c.Title
	if title == "" {
		title = "conda: " + strings.Join(c.Packages, " ")
	}
	return Exec{
		Title: title, Lines: c.Lines, Root: true, Env: c.Env,
		Args: append(args, slices.Sorted(slices.Values(c.Packages))...),
		Mounts: append([]Mount{
			{Kind: ImageMount, Ref: MicromambaImage, Source: "/bin/micromamba", Target: micromambaPath},
			{Kind: CacheMount, Target: condaRoot + "/pkgs", ID: "conda", PerPlatform: true},
		}, c.Mounts...),
	}
}

// CondaActivate makes a conda environment the image's own: its programs are found first. With python, later
// Python steps install into it; uv takes a conda environment for a virtual one where VIRTUAL_ENV names it.
func CondaActivate(prefix string, python bool, at Lines) []Step {
	steps := []Step{
		PathPrepend{Lines: at, Dir: prefix + "/bin"},
		Env{Lines: at, Key: "CONDA_PREFIX", Value: prefix},
	}
	if python {
		steps = append(steps, Env{Lines: at, Key: "VIRTUAL_ENV", Value: prefix})
	}
	return steps
}
