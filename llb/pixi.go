package llb

import "path"

const (
	// PixiImage holds the pixi binary that pixi steps mount.
	PixiImage = "ghcr.io/prefix-dev/pixi:0.77.0"
	// PixiDir is where pixi's environments are, each below the folder of its manifest. A conda environment
	// cannot be moved, so it is made there.
	PixiDir = "/opt/pixi"
	// PixiPlatform stands for the platform of the image, as conda calls it, in the manifest of a script.
	PixiPlatform = "@platform@"

	pixiPath  = "/run/ibuild/bin/pixi"
	pixiCache = "/run/ibuild/cache/pixi"
)

// pixiScript installs the environment of a project, whose files are mounted, into $root. A conda environment
// cannot be moved to another path and the files are not for the image, so they are copied around it and taken
// away again. pixi leaves a lock beside its credentials in the home folder.
const pixiScript = `set -eu
pixi=$1 sources=$2 root=$3 manifest=$4 note=${HOME:-/root}/.rattler
shift 4
[ -e "$note" ] || trap 'rm -rf "$note"' EXIT
mkdir -p "$root"
cp -R "$sources/." "$root/"
"$pixi" install --manifest-path "$root/$manifest" "$@"
dir=$(dirname "$root/$manifest")
mv "$dir/.pixi" "$root.kept"
rm -rf "$root"
mkdir -p "$dir"
mv "$root.kept" "$dir/.pixi"`

// pixiHeader installs what the header of a script asks for. Its manifest gets the image's platform first, as
// pixi solves for every platform that a manifest has. Manifest and lock stay.
const pixiHeader = `set -eu
pixi=$1 sources=$2 root=$3 note=${HOME:-/root}/.rattler
shift 3
[ -e "$note" ] || trap 'rm -rf "$note"' EXIT
case $(uname -m) in
  aarch64) platform=linux-aarch64 ;;
  *) platform=linux-64 ;;
esac
mkdir -p "$root"
sed "s/` + PixiPlatform + `/$platform/" "$sources/pixi.toml" >"$root/pixi.toml"
if [ -e "$sources/pixi.lock" ]; then cp "$sources/pixi.lock" "$root/"; fi
"$pixi" install --manifest-path "$root/pixi.toml" "$@"`

// PixiPrefix is where the environment of a manifest in dir, a path below PixiDir, is in the image.
func PixiPrefix(dir, environment string) string {
	return path.Join(PixiDir, dir, ".pixi/envs", environment)
}

// Pixi is one `pixi install` of a project's lock.
type Pixi struct {
	Title       string
	Manifest    string // path below ProjectDir
	Environment string
	Args        []string // extra arguments of the user
	Env         []string
	Mounts      []Mount // the manifest, the lock, and what else the step needs, below ProjectDir
	Lines       Lines
}

// Install installs what the lock says; one that does not match the manifest is an error.
func (p Pixi) Install() Exec {
	args := []string{"/bin/sh", "-c", pixiScript, "sh", pixiPath, ProjectDir, PixiDir, p.Manifest, "--locked"}
	if p.Environment != "default" { // which old ones do not know by its name
		args = append(args, "--environment", p.Environment)
	}
	return Exec{
		Title: p.Title, Lines: p.Lines, Root: true, Args: append(args, p.Args...),
		Env: append(pixiEnv(), p.Env...), Mounts: append(pixiMounts(), p.Mounts...),
	}
}

// PixiScript installs what a manifest that was made of a script's header asks for, and with a lock what that
// says. Both, or the lock that pixi makes, stay in PixiDir and say what is in the image.
func PixiScript(manifest, lock []byte, env []string, at Lines, more ...Mount) Exec {
	e := Exec{
		Title: "pixi: dependencies of the script", Lines: at, Root: true, Env: append(pixiEnv(), env...),
		Args:   []string{"/bin/sh", "-c", pixiHeader, "sh", pixiPath, ScriptDir, PixiDir},
		Mounts: append(pixiMounts(), Mount{Kind: DataMount, Target: ScriptDir + "/pixi.toml", Data: manifest}),
	}
	if lock != nil {
		e.Title += " (locked)"
		e.Args = append(e.Args, "--locked")
		e.Mounts = append(e.Mounts, Mount{Kind: DataMount, Target: ScriptDir + "/pixi.lock", Data: lock})
	}
	e.Mounts = append(e.Mounts, more...)
	return e
}

func pixiEnv() []string {
	return []string{"PIXI_CACHE_DIR=" + pixiCache, "RATTLER_CACHE_DIR=" + pixiCache, "PIXI_COLOR=never"}
}

func pixiMounts() []Mount {
	return []Mount{
		{Kind: ImageMount, Ref: PixiImage, Source: "/usr/local/bin/pixi", Target: pixiPath},
		{Kind: CacheMount, Target: pixiCache, ID: "pixi", PerPlatform: true},
	}
}
