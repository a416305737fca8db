package llb

import (
	"time"

	"github.com/moby/buildkit/solver/pb"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

// CodeTime is the modification time of every file that ibuild itself puts into an image (copied
// sources, written files) when SOURCE_DATE_EPOCH is not set. A checkout's own times differ from
// machine to machine. It is not 0, because Python's zipfile refuses times before 1980.
var codeTime = time.Date(1980, 1, 2, 0, 0, 0, 0, time.UTC)

// CodeTime returns the modification time of the files that ibuild puts into images by itself:
// epoch when it is set (SOURCE_DATE_EPOCH), a constant otherwise.
func CodeTime(epoch *time.Time) time.Time {
	if epoch != nil {
		return epoch.UTC()
	}
	return codeTime
}

// Image says how one image is made: a base, then steps in order. Specs, uv scripts and notebooks all
// end up as one Image. It is a value: nothing in it is changed after it was handed over, and it can be
// used from several goroutines.
type Image struct {
	// Name is what progress and errors call it.
	Name string
	// Base is the image that the steps start from.
	Base Base
	// Steps run in order; see [Image.Split] for which of them need a builder.
	Steps []Step
	// Sources are the files that asked for all this, none when it was made in Go; the steps' Lines point into them.
	Sources []*SourceFile
	// Locals are the folders that Copy steps and LocalFile mounts read, by name.
	Locals map[string]Local
	// Platforms that the source itself asks for; the caller's own choice goes first.
	Platforms []ocispecs.Platform
	// Tools are the references of helper images that are taken instead of ibuild's own choice, by the latter.
	Tools map[string]string
}

// SourceFile is a text with positions, shown when a step that it asked for fails.
type SourceFile struct {
	Name     string // as the user wrote it, relative
	Language string // GitHub linguist's name: "YAML", "Python", "Dockerfile"
	Data     []byte
}

// Lines is a range of lines of a source file, from 1, both ends included. The zero value is "nowhere".
type Lines struct {
	First, Last int
	File        int // index into [Image.Sources]
}

func (l Lines) ranges() []*pb.Range {
	if l.First == 0 {
		return nil
	}
	last := max(l.First, l.Last)
	return []*pb.Range{{
		Start: &pb.Position{Line: int32(l.First)},
		End:   &pb.Position{Line: int32(last)},
	}}
}

// Base is where an image starts.
type Base struct {
	// Ref is an image reference; "" or "scratch" is the empty image.
	Ref string
	// Fallback is taken, with a warning, when there is no image Ref; "" when that is an error.
	Fallback, FallbackWarning string
	// Lines is where the source names it.
	Lines Lines
	// Python says that the base has a Python of its own before any step ran, so that Python steps
	// which install wheels only need none of the apt steps before them.
	Python bool
}

// Step is one of Exec, Copy, WriteFile, Env, PathPrepend, Workdir, User, Entrypoint, Cmd, Shell or Label.
type Step interface{ lines() Lines }

// Exec runs a command in the image. What it changes becomes one layer.
type Exec struct {
	// Title is what progress shows and what the image's history says, e.g. "apt: git curl".
	Title string
	Lines Lines
	// Args is the command; no shell is involved but where Args names one.
	Args []string
	// Env holds KEY=VALUE pairs for this step only.
	Env []string
	// Root runs the step as root whatever the image's user is.
	Root bool
	// Mounts are there while the step runs and leave nothing in the layer.
	Mounts []Mount
	// SystemPython lets uv install into the image's own Python when the image has no virtual
	// environment (VIRTUAL_ENV) at this point.
	SystemPython bool
	// Kind decides what may run side by side; see [Image.Lower].
	Kind ExecKind
	// Native says how the step can run for another platform than the builder's without emulation.
	Native Native
}

// ExecKind groups the steps whose order can be given up without changing the result.
type ExecKind int

const (
	// Ordered steps may depend on everything before them.
	Ordered ExecKind = iota
	// Packages installs OS packages and nothing else.
	Packages
	// WheelsOnly installs Python wheels into the virtual environment and runs no package's code, so it
	// needs the base's Python and nothing that Packages steps install.
	WheelsOnly
	// PythonSetup makes the virtual environment and the user; like WheelsOnly it only needs the base.
	PythonSetup
)

// MountKind is what a Mount mounts.
type MountKind int

const (
	// CacheMount keeps a folder of the builder between builds.
	CacheMount MountKind = iota
	// ImageMount shows a path of another image, read-only.
	ImageMount
	// DataMount shows a file with the given bytes, read-only.
	DataMount
	// LocalMount shows a path of a local source, read-only.
	LocalMount
	// SecretMount shows a secret as a file at Target, or as the environment variable Env.
	SecretMount
)

// Mount is a path that exists only while an Exec runs.
type Mount struct {
	Kind   MountKind
	Target string // absolute path in the image; empty for a secret in an environment variable

	ID     string // CacheMount, SecretMount: the cache's or secret's name
	Locked bool   // CacheMount: one step at a time
	// PerPlatform gives every platform a cache of its own (CacheMount).
	PerPlatform bool

	Ref    string // ImageMount: reference
	Source string // ImageMount: path in that image; LocalMount: path in the local source
	Local  string // LocalMount: name of the local source
	File   bool   // LocalMount: Source is a file
	// Exclude are .dockerignore patterns relative to Source (LocalMount of a folder).
	Exclude []string
	// Scratch lets the step write to a LocalMount; nothing of that is kept.
	Scratch bool

	Data []byte // DataMount

	Env      string // SecretMount: environment variable instead of a file
	Optional bool   // SecretMount: the step runs without it as well
	UID, GID int    // SecretMount: the file's owner
	Mode     int    // SecretMount: the file's mode, 0400 when 0
}

// Copy brings a file or the contents of a folder from a local source into the image, owned by root
// unless Owner says otherwise, with modes 0755 and 0644 (a file that was executable stays it) and
// with [CodeTime] as modification time, so that the result does not depend on who checked it out.
type Copy struct {
	Title string
	Lines Lines
	Local string // name of the local source
	Src   string // path below it, slash-separated; "." is all of it
	Dst   string // path in the image, relative to the workdir at this point: the file's or folder's own name there
	Dir   bool   // Src is a folder
	// Only are the files and links below Src that are brought, by their paths relative to it; none for all
	// (Dir only).
	Only []string
	// Exclude are .dockerignore patterns relative to Src's folder (Dir only).
	Exclude []string
	// Owner is "uid:gid" or "uid"; names are looked up in the image by the builder.
	Owner string
}

// WriteFile writes a file that is part of the definition itself. Owned by root, with [CodeTime].
type WriteFile struct {
	Title string
	Lines Lines
	Dst   string // relative to the workdir at this point
	Data  []byte
	Mode  uint32 // 0644 when 0
}

// Env sets an environment variable, as is: nothing is expanded.
type Env struct {
	Lines      Lines
	Key, Value string
}

// PathPrepend puts a folder in front of PATH.
type PathPrepend struct {
	Lines Lines
	Dir   string
}

// Workdir sets the working folder of what follows and of the image; it is made when it is not there.
type Workdir struct {
	Lines Lines
	Path  string // relative to the workdir before it
	// Exists says that a step before it made the folder, so no layer is needed for that.
	Exists bool
}

// User sets the user of the Exec steps that follow and of the image.
type User struct {
	Lines Lines
	Name  string
}

// Entrypoint sets the image's entry point and clears its command, as in a Dockerfile. No Args clears it.
type Entrypoint struct {
	Lines Lines
	Args  []string
}

// Cmd sets the image's command. No Args clears it.
type Cmd struct {
	Lines Lines
	Args  []string
}

// Shell sets the shell that the image's config names (an extension of docker's). It runs nothing.
type Shell struct {
	Lines Lines
	Args  []string
}

// Label sets a label.
type Label struct {
	Lines      Lines
	Key, Value string
}

func (s Exec) lines() Lines        { return s.Lines }
func (s Copy) lines() Lines        { return s.Lines }
func (s WriteFile) lines() Lines   { return s.Lines }
func (s Env) lines() Lines         { return s.Lines }
func (s PathPrepend) lines() Lines { return s.Lines }
func (s Workdir) lines() Lines     { return s.Lines }
func (s User) lines() Lines        { return s.Lines }
func (s Entrypoint) lines() Lines  { return s.Lines }
func (s Cmd) lines() Lines         { return s.Lines }
func (s Shell) lines() Lines       { return s.Lines }
func (s Label) lines() Lines       { return s.Lines }

// Split parts the image where its code begins: env ends with the last step that executes something
// (with no such step it is the bare base), code is what comes after. Code can be put on the
// environment image without a builder; see design.md 1.6.
func (img *Image) Split() (env *Image, code []Step) {
	last := -1
	for i, s := range img.Steps {
		if _, ok := s.(Exec); ok {
			last = i
		}
	}
	e := *img
	e.Steps = img.Steps[: last+1 : last+1]
	return &e, img.Steps[last+1:]
}
