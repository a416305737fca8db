package llb

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/containerd/platforms"
	"github.com/moby/buildkit/solver/pb"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

// Native says how a step can run on a builder of another platform without emulation. Whatever way is taken,
// the files are the same; so identities are computed without native steps (see [Options]).
type Native int

const (
	// Emulated steps run programs of the image, so they run on the platform that they are for.
	Emulated Native = iota
	// NativeAsIs steps write nothing that depends on the platform: they run as they are.
	NativeAsIs
	// NativeUV steps are one command of uv that installs packages. They run natively as long as every package
	// that uv chooses has a wheel; where one has none, the step fails (see [WhyEmulate]).
	NativeUV
)

// debianGlibc is the C library of the Debian Python base, as the tags of wheels have it (bookworm has 2.36).
const debianGlibc = "manylinux_2_36"

// nativeUV installs for another platform than the one that it runs on. What it installs must be what the
// image's own uv would: with wheels only, uv silently takes an older version of a package whose newest one
// has none. So uv first plans without that restriction, and what it then installs has to be that plan. A
// package out of a folder or a repository is built in any case, also with --no-build, so a plan with one is
// refused. What a failure means is for WhyEmulate to say. The image's PATH is the user's, so programs have theirs.
const nativeUV = `set -eu
uv=$1 verb=$2 platform=$3 wheels=$4
shift 4
missing() {
  printf '%s\n' "$1" | /bin/sed 's/^ [-+~] //; s/ (from .*//; s/ @ .*//; s/^/ibuild: no wheel: /' >&2
  exit 1
}
plan=$("$uv" $verb --dry-run --python-platform "$platform" "$@" 2>&1) || {
  code=$?
  printf '%s\n' "$plan" >&2
  exit $code
}
plan=$(printf '%s\n' "$plan" | /bin/sed -n '/^ [-+~] /p')
sources=$(printf '%s\n' "$plan" | /bin/sed -n '\#^ [+~] .*://#{/\.whl)\{0,1\}$/d;/\.whl[#?]/d;p;}')
if [ -n "$sources" ]; then missing "$sources"; fi
if [ -z "$wheels" ]; then exec "$uv" $verb --python-platform "$platform" "$@"; fi
out=$(
  {
    code=0
    "$uv" $verb --python-platform "$platform" $wheels "$@" 2>&1 || code=$?
    echo "exit $code"
  } | /bin/sed -n -e '/^exit [0-9]*$/{p;d;}' -e 'w /dev/stderr' -e '/^ [-+~] /p'
)
code=${out##*exit } done=${out%exit *}
if [ "$code" != 0 ]; then exit "$code"; fi
if [ "$plan" != "${done%?}" ]; then # it ends with a new line, if there is something
  missing "$(printf '%s\n' "$plan" | /bin/grep -vxF -e "$done" | /bin/grep -v '^ - ')"
fi`

// NativeFor says whether an operation is a uv step that runs natively for another platform, and for which.
func NativeFor(op *pb.Op) (platform string, native bool) {
	args := op.GetExec().GetMeta().GetArgs()
	if len(args) < 7 || args[2] != nativeUV {
		return "", false
	}
	for _, arch := range []string{"amd64", "arm64"} {
		if p := (ocispecs.Platform{OS: "linux", Architecture: arch}); args[6] == uvPlatform(p) {
			return platforms.Format(p), true
		}
	}
	return "", false
}

// native is the command of a step on a builder of another platform than p.
func (s Exec) native(p ocispecs.Platform) []string {
	if s.Native == NativeAsIs {
		return s.Args
	}
	n := slices.IndexFunc(s.Args, func(a string) bool { return strings.HasPrefix(a, "-") })
	wheels := "--no-build"
	if s.Kind == WheelsOnly {
		wheels = "" // said by the step itself, and uv takes it once
	}
	args := []string{"/bin/sh", "-c", nativeUV, "sh", s.Args[0], strings.Join(s.Args[1:n], " "), uvPlatform(p), wheels}
	return append(args, s.Args[n:]...)
}

// isNative says whether the step can run natively: a flag of the user's about the interpreter or about
// building says something else than what a native step says.
func (s Exec) isNative() bool {
	if s.Native != NativeUV {
		return s.Native != Emulated
	}
	n := slices.IndexFunc(s.Args, func(a string) bool { return strings.HasPrefix(a, "-") })
	return n > 1 && !slices.ContainsFunc(s.Args[n:], decidesPlatform)
}

func decidesPlatform(arg string) bool {
	name, _, _ := strings.Cut(arg, "=")
	switch name {
	case "--dry-run", "--no-binary", "--no-build", "--no-build-package", "--python", "--python-platform", "--python-version", "--system":
		return true
	}
	return strings.HasPrefix(arg, "-p") // -p 3.12, -p3.12
}

func uvPlatform(p ocispecs.Platform) string {
	arch := map[string]string{"amd64": "x86_64", "arm64": "aarch64"}[p.Architecture]
	return arch + "-" + debianGlibc
}

// Foreign says whether p is a platform whose wheels a builder for own can install without running them.
func Foreign(own, p ocispecs.Platform) bool {
	return wheelPlatform(own) && wheelPlatform(p) && own.Architecture != p.Architecture
}

func wheelPlatform(p ocispecs.Platform) bool {
	switch platforms.Format(platforms.Normalize(p)) {
	case "linux/amd64", "linux/arm64":
		return true
	}
	return false
}

// HasNative says whether a builder for own can run any step of the image natively for a platform of another kind.
func (img *Image) HasNative() bool {
	return img.Base.Python && slices.ContainsFunc(img.Steps, func(s Step) bool {
		e, ok := s.(Exec)
		return ok && e.isNative()
	})
}

// WhyEmulate finds in the output of a native step why the step needs emulation, in a few words on one line: a
// package that has no wheel, or is to be built from its sources. It is "" for every other failure: that would
// happen in the image as well. The words are those of the pinned uv (UVImage), of Linux and of QEMU.
func WhyEmulate(output []byte) string {
	const noWheel, otherPrograms = "%s has no wheel", "a step before it has changed the base's own programs"
	for _, c := range []struct{ text, why string }{
		{`(?m)^ibuild: no wheel: (.+)`, noWheel},
		{`(?m)^ibuild: no wheel: $`, "a package has no wheel"},
		{`\b([\w.-]+==[^\s,]+) has no usable wheels`, noWheel},
		{"Wheels are required for `([^`\n]+)` because building from source is disabled", noWheel},
		{"Distribution `([^`\n @]+)[^`\n]*` can't be installed because it is marked as `--no-build`", noWheel},
		{"Building source distributions for `([^`\n]+)` is disabled", noWheel},
		{"Building source distributions is disabled, but attempted to build `([^`\n]+)`", noWheel},
		{"Failed to (?:download and )?build `([^`\n @]+)", noWheel},
		{`(?m)^ *(?:error|cause): Git operation failed`, "a package comes from a git repository and has no wheel"},
		{`(?i)exec format error`, otherPrograms},
		{`exec /bin/sh: no such file or directory`, otherPrograms},
		{`Could not open '/lib(?:64)?/ld-linux`, otherPrograms},
	} {
		m := regexp.MustCompile(c.text).FindSubmatch(output)
		if len(m) > 1 {
			return fmt.Sprintf(c.why, strings.Replace(string(m[1]), "==", " ", 1))
		}
		if m != nil {
			return c.why
		}
	}
	return ""
}
