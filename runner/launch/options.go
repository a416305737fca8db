package launch

import (
	"cmp"
	"fmt"
	"io"
	"strings"

	"github.com/distribution/reference"
	"github.com/ibuild/ibuild/frontends/source"
	"github.com/ibuild/ibuild/runner/gke"
	"github.com/moby/buildkit/util/suggest"
)

// Mode says where the image's base comes from.
type Mode string

// The modes.
const (
	Bundled  Mode = "bundled"  // built with all that the program needs
	Prebuilt Mode = "prebuilt" // published; the pod installs what the program needs when it starts
	Custom   Mode = "custom"   // the user's own, as it is
)

// Carry says which files of the program's folder go along.
type Carry string

// What can be carried.
const (
	CarryAuto    Carry = ""        // the folder, but of a home folder or a root only what is imported
	CarryFolder  Carry = "folder"  // all but what .dockerignore and the standard ignores leave out
	CarryImports Carry = "imports" // the program and the modules that it imports
)

// Folders and files in the image.
const (
	Folder         = "/ibuild"           // ibuild's own
	CodeFolder     = Folder + "/code"    // the program, and the job's working folder
	InstallFile    = Folder + "/" + list // what the pod installs in prebuilt mode
	list           = "requirements.txt"
	constraintList = "constraints.txt"
)

// Where prebuilt mode looks for base images: variables in their order, then the repository of the project.
const (
	BaseRepoVariable    = "IBUILD_BASE_IMAGE_REPO"
	KineticRepoVariable = "KINETIC_BASE_IMAGE_REPO" // for those who come from Kinetic
	DefaultBaseRepo     = "docker.io/ibuild"
)

// DefaultPython is the Python of an image when the source asks for none: the newest that JAX, torch and TensorFlow all
// have wheels for.
const DefaultPython = "3.12"

// Options are what the caller says.
type Options struct {
	// Source is a Python file, a notebook, a folder, a Dockerfile, an image spec, "-" for a script from Stdin, or the
	// reference of an image.
	Source string
	Stdin  io.Reader
	// File and Frontend are those of `ibuild build`: what says how to build the folder, and what it is.
	File, Frontend string
	// Args are for the program.
	Args []string

	Mode        Mode // "" is Custom with an Image, else Bundled
	Accelerator gke.Accelerator
	// Repository is where images are pushed to, without a tag. It may be "" when nothing is built.
	Repository string
	// Image is the custom mode's image for a program.
	Image string
	// BaseRepo and BaseTag name the base images of prebuilt mode; "" is what the environment says, and "latest".
	BaseRepo, BaseTag string
	// Python is X.Y of a bundled image; "" is what the source asks for, or DefaultPython.
	Python string
	// Folder goes along with the program, which is in it; "" is the program's own folder.
	Folder string
	Carry  Carry
	// NoBootstrap leaves the bootstrap out: the image's own entry point is process 1. Nothing is installed at the start
	// then, and no results come back.
	NoBootstrap bool

	// Getenv reads the environment, Home and Dir are the caller's home and working folder: absolute, "" for none.
	Getenv    func(name string) string
	Home, Dir string
}

// mode checks the mode and what belongs to it.
func (o Options) mode(errs *source.Errors, isImage bool) Mode {
	fail := func(msg, hint string) { *errs = append(*errs, &source.Error{Msg: msg, Hint: hint}) }
	modes := []string{string(Bundled), string(Prebuilt), string(Custom)}
	mode := o.Mode
	if mode == "" {
		mode = Bundled
		if o.Image != "" || isImage {
			mode = Custom
		}
	}
	switch {
	case mode != Bundled && mode != Prebuilt && mode != Custom:
		hint := "the modes are " + strings.Join(modes, ", ")
		if match, ok := suggest.Search(string(mode), modes, false); ok {
			hint = "did you mean " + match + "?"
		}
		fail(fmt.Sprintf("there is no mode %q", mode), hint)
	case isImage && mode != Custom:
		fail(fmt.Sprintf("%s is an image, and the mode %s makes one", o.Source, mode), "leave the mode out: an image is taken as it is")
	case o.Image != "" && mode != Custom:
		fail(fmt.Sprintf("an image of one's own goes with the mode custom, not with %s", mode), "leave one of them out")
	case o.Image != "" && isImage:
		fail(fmt.Sprintf("two images: %s and %s", o.Source, o.Image), "name one, and the program after --")
	case mode == Prebuilt && o.NoBootstrap:
		fail("the mode prebuilt needs the bootstrap, which installs the packages", "take the mode bundled, or leave the bootstrap in")
	}
	return mode
}

// unused refuses options that the source or the mode have no use for.
func (o Options) unused(mode Mode, s subject, errs *source.Errors) {
	program := s.kind != KindImage && s.kind != KindDefinition
	fail := func(what, why string) {
		*errs = append(*errs, &source.Error{Msg: what + " does nothing here: " + why, Hint: "leave it out"})
	}
	if o.Python != "" {
		switch {
		case !program:
			fail("a Python version", "the image says itself what is in it")
		case mode != Bundled:
			fail("a Python version", fmt.Sprintf("in the mode %s the image has its own", mode))
		case s.hasHeader():
			fail("a Python version", "the header's requires-python decides")
		}
	}
	if !program && (o.Folder != "" || o.Carry != CarryAuto) {
		fail("a folder that goes along", "the image has its own program")
	}
	if mode != Prebuilt && o.BaseRepo != "" {
		fail("a repository of base images", fmt.Sprintf("the mode %s takes none", mode))
	}
}

// baseImage is the base of prebuilt mode, and who names its repository ("" for the caller).
func (o Options) baseImage(errs *source.Errors) (image, by string) {
	repo := o.BaseRepo
	for _, name := range []string{BaseRepoVariable, KineticRepoVariable} {
		if repo == "" && o.Getenv(name) != "" {
			repo, by = o.Getenv(name), name
		}
	}
	if repo == "" {
		repo, by = DefaultBaseRepo, "the default"
	}
	image, err := BaseImage(repo, o.Accelerator.Kind, cmp.Or(o.BaseTag, "latest"))
	if err != nil {
		errs.Collect(err)
	}
	return image, by
}

// BaseImage is the reference of the base image of a kind of accelerator: <repo>/base-<kind>:<tag>. The error is a
// source.Error.
func BaseImage(repo string, kind gke.Kind, tag string) (string, error) {
	named, err := reference.ParseNormalizedNamed(strings.TrimSuffix(repo, "/") + "/base-" + string(kind))
	if err != nil || !reference.IsNameOnly(named) {
		return "", &source.Error{Msg: fmt.Sprintf("%q is not a repository for base images", repo), Hint: "write [registry/]name in lower case and without a tag, e.g. us-docker.pkg.dev/my-project/images"}
	}
	tagged, err := reference.WithTag(named, tag)
	if err != nil {
		return "", &source.Error{Msg: fmt.Sprintf("%q is not a tag for base images", tag), Hint: "letters, digits, dots, dashes and underscores, at most 128 of them"}
	}
	return tagged.String(), nil
}

// repository is where images go; nil after a finding.
func (o Options) repository(errs *source.Errors) reference.Named {
	if o.Repository == "" {
		*errs = append(*errs, &source.Error{Msg: "the image has to be pushed to a registry that the cluster reads, and none is named", Hint: "name a repository, e.g. us-docker.pkg.dev/my-project/images/train"})
		return nil
	}
	named, err := reference.ParseNormalizedNamed(o.Repository)
	if err != nil || !reference.IsNameOnly(named) {
		*errs = append(*errs, &source.Error{Msg: fmt.Sprintf("%q is not a repository", o.Repository), Hint: "write [registry/]name in lower case and without a tag"})
		return nil
	}
	return named
}
