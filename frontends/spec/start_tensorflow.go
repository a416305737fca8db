package spec

import (
	"cmp"
	"fmt"
	"os"
	"path"
	"strings"

	"github.com/distribution/reference"
	"go.yaml.in/yaml/v3"

	"github.com/ibuild/ibuild/frontends/spec/python"
	"github.com/ibuild/ibuild/frontends/spec/tensorflow"
	"github.com/ibuild/ibuild/llb"
)

// tensorflowDir is where tensorflow_cloud puts the code.
const tensorflowDir = "/app"

// DockerConfig is tensorflow_cloud's, with what its run() takes beside it: a TensorFlow image, the packages of
// a requirements file, the code in /app, and a Python file as the entry point.
type DockerConfig struct {
	// Image is the name of the image that is made; Image's own name, registry and tag go first.
	Image string
	// ParentImage is what it starts from; "" is TensorFlow's own image: of the version that is named here or
	// pinned in the requirements, else of the one in the local Python environment, else the latest. The
	// environment variable KAGGLE_DOCKER_IMAGE goes before all but ParentImage.
	ParentImage string
	// CacheFrom is an image whose cache the builder may use; "" is Image.
	CacheFrom string
	// ImageBuildBucket asks for Google Cloud Build, which comes with a later version.
	ImageBuildBucket string
	TensorFlow       string // version, "" when nobody says so
	GPU              bool   // the accelerator is a GPU
	EntryPoint       string // Python file in Context, "" for none
	Requirements     string // requirements file in the spec's folder, "" for none
	Context          string // folder with the code, "" is the spec's folder
}

type tensorflowStart struct{ DockerConfig }

// TensorFlow is the image that tensorflow_cloud makes of a [DockerConfig].
func TensorFlow(c DockerConfig) Image { return Image{start: tensorflowStart{c}} }

func (s tensorflowStart) kind() string     { return "tensorflow_cloud" }
func (s tensorflowStart) yaml() *yaml.Node { return encode(&s) }

func (s *tensorflowStart) short(t table) field {
	return t.text("entry_point", "a Python file in the context", &s.EntryPoint)
}

func (s *tensorflowStart) fields(t table) []field {
	return []field{
		s.short(t),
		t.text("requirements", "a requirements file", &s.Requirements),
		t.text("context", "folder with the code; absent: the spec's own", &s.Context),
		t.text("image", "name of the image that is made", &s.Image),
		t.text("parent_image", "what it starts from; absent: TensorFlow's own image", &s.ParentImage),
		t.text("cache_from", "an image whose cache the builder may use; absent: image", &s.CacheFrom),
		t.text("image_build_bucket", "asks for Google Cloud Build, which comes with a later version", &s.ImageBuildBucket),
		t.text("tensorflow", "the version of TensorFlow, in quotes", &s.TensorFlow),
		t.flag("gpu", "the accelerator is a GPU", &s.GPU),
	}
}

func (s tensorflowStart) mark(l *lowering, field string) mark {
	if at, ok := l.img.marks[field]; ok {
		return at
	}
	return l.img.marks.at("tensorflow_cloud")
}

func (s tensorflowStart) lower(l *lowering) {
	if s.ImageBuildBucket != "" {
		l.fail(s.mark(l, "image_build_bucket"), "building with Google Cloud Build (image_build_bucket) is not supported yet", "leave it out: no Docker is needed here to build")
	}
	s.lowerNames(l)
	img := s.parent(l)
	named, err := reference.ParseNormalizedNamed(img.Ref)
	if err != nil {
		if img.Ref != "" {
			msg, hint := refProblem(img.Ref, err)
			l.fail(s.mark(l, "parent_image"), "parent_image: "+msg, hint)
		}
		return
	}
	at := l.lines(s.mark(l, "parent_image"))
	l.base = llb.Base{Ref: reference.TagNameOnly(named).String(), Fallback: img.Fallback, FallbackWarning: img.FallbackWarning, Lines: at}
	l.python, l.workdir = img.Python, tensorflowDir
	l.lowerCertificates()
	l.steps = append(l.steps, llb.Workdir{Lines: at, Path: tensorflowDir})
}

// lowerPackages installs the requirements.
func (s tensorflowStart) lowerPackages(l *lowering) {
	if s.Requirements != "" {
		Pip{Requirements: s.Requirements, placed: placed{marks{"": s.mark(l, "requirements")}}}.lower(l)
	}
}

// lowerEnd brings the code.
func (s tensorflowStart) lowerEnd(l *lowering) {
	SourceFolder{Src: path.Join(".", s.Context), Dst: tensorflowDir, placed: placed{marks{"": s.mark(l, "context")}}}.lower(l)
	if s.EntryPoint == "" || l.img.entrypoint.set {
		return
	}
	at := s.mark(l, "entry_point")
	file := path.Join(s.Context, s.EntryPoint)
	if !l.checkSource(file, at) {
		return
	}
	if path.Ext(file) != ".py" {
		l.fail(at, fmt.Sprintf("the entry point %q does not end in .py", s.EntryPoint), "a notebook is built with ibuild build NOTEBOOK")
	} else if l.folder != nil {
		if _, dir, ok := l.find(file, at); ok && dir {
			l.fail(at, fmt.Sprintf("the entry point %q is a folder", s.EntryPoint), "name a Python file")
		}
	}
	l.steps = append(l.steps, llb.Entrypoint{Lines: l.lines(at), Args: []string{"python", path.Clean(s.EntryPoint)}})
}

// lowerNames takes the image's name and cache from the config.
func (s tensorflowStart) lowerNames(l *lowering) {
	l.checkReference("image", s.Image, s.mark(l, "image"))
	l.checkReference("cache_from", s.CacheFrom, s.mark(l, "cache_from"))
	l.named = s.Image
	if cache := cmp.Or(s.CacheFrom, s.Image); cache != "" {
		l.cacheFrom = []string{cache}
	}
}

// parent chooses the image to start from.
func (s tensorflowStart) parent(l *lowering) tensorflow.Image {
	in := tensorflow.Input{ParentImage: s.ParentImage, Version: s.TensorFlow, GPU: s.GPU, KaggleImage: os.Getenv("KAGGLE_DOCKER_IMAGE")}
	if s.Requirements != "" && l.folder != nil {
		found, _ := l.tree().ReadAll(path.Clean(s.Requirements)) // what is wrong with it is said when it is installed
		for _, f := range found.Files {
			in.Requirements = append(in.Requirements, requirementLines(f)...)
		}
	}
	img, findings := tensorflow.Parent(in)
	if strings.HasPrefix(img.Ref, "tensorflow/tensorflow:latest") && l.folder != nil {
		in.Local = localTensorFlow() // nobody else says which version
		img, findings = tensorflow.Parent(in)
	}
	for _, f := range findings {
		at := s.mark(l, map[tensorflow.Field]string{
			tensorflow.FieldParentImage: "parent_image", tensorflow.FieldVersion: "tensorflow", tensorflow.FieldRequirement: "requirements",
		}[f.Field])
		if f.Severity == tensorflow.Error {
			l.fail(at, f.Msg, f.Hint)
		} else {
			l.warn(at, f.Msg, f.Hint)
		}
	}
	return img
}

// localTensorFlow is what the caller's Python has; nothing where there is none.
func localTensorFlow() tensorflow.Local {
	env, err := environmentStart{}.read()
	if err != nil {
		return tensorflow.Local{}
	}
	out := tensorflow.Local{Python: env.Python}
	for name, p := range env.Packages {
		if n := python.NormalName(name); n == "tensorflow" || n == "tensorflow-cpu" && out.TensorFlow == "" {
			out.TensorFlow = p.Version
		}
	}
	return out
}

// requirementLines are the requirements of a file, without options and comments.
func requirementLines(f python.File) []string {
	var out []string
	for line := range strings.Lines(string(f.Data)) {
		line, _, _ = strings.Cut(line, " #")
		line, _, _ = strings.Cut(line, " --hash")
		line = strings.TrimSpace(line)
		if _, err := python.ParseRequirement(line); err == nil {
			out = append(out, line)
		}
	}
	return out
}
