package spec

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/containerd/platforms"
	"github.com/distribution/reference"
	"github.com/moby/buildkit/util/suggest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ibuild/ibuild/frontends/spec/credential"
	"github.com/ibuild/ibuild/llb"
)

func (l *lowering) lowerBase() {
	if l.img.base == "" {
		l.lowerDebian()
		return
	}
	at := l.img.marks.at("base_image")
	if l.img.python != "" {
		l.fail(l.img.marks.at("python_version"), "python_version goes with the Debian base only",
			"remove it, or name a base_image that has this Python")
	}
	if l.img.base == scratch {
		l.base = llb.Base{Ref: scratch, Lines: at.lines()}
		l.workdir = "/"
		return
	}
	if isFile(l.img.base) {
		l.fail(at, fmt.Sprintf("base_image: another spec (%q) as the base is not supported yet", l.img.base),
			"build it first and name its image")
		return
	}
	named, err := reference.ParseNormalizedNamed(l.img.base)
	if err != nil {
		msg, hint := refProblem(l.img.base, err)
		l.fail(at, "base_image: "+msg, hint)
		return
	}
	l.base = llb.Base{Ref: reference.TagNameOnly(named).String(), Lines: at.lines()}
}

func (l *lowering) lowerDebian() {
	python, at := l.img.python, l.img.marks.at("python_version")
	if at.line == 0 {
		at = l.img.marks.at("base_image")
	}
	supported := llb.PythonVersions()
	if python == "" {
		python = supported[0]
	}
	if !slices.Contains(supported, python) {
		hint := "supported are " + strings.Join(supported, ", ")
		if parts := strings.Split(python, "."); len(parts) == 3 && slices.Contains(supported, parts[0]+"."+parts[1]) {
			hint = fmt.Sprintf("write %s.%s, its newest patch release is taken", parts[0], parts[1])
		}
		l.fail(at, fmt.Sprintf("Python %q is not supported", python), hint)
	}
	l.base = llb.Base{Ref: llb.DebianPython(python), Python: true, Lines: at.lines()}
	l.steps = append(l.steps, llb.DebianSetup(python, at.lines())...)
	l.workdir = llb.DefaultHome
}

// isFile says whether a base is meant to be a file rather than a reference.
func isFile(base string) bool {
	ext := path.Ext(base)
	return strings.HasPrefix(base, "./") || strings.HasPrefix(base, "../") || strings.HasPrefix(base, "/") ||
		ext == ".yaml" || ext == ".yml"
}

// refProblem words why a text is not an image reference.
func refProblem(ref string, err error) (msg, hint string) {
	msg = fmt.Sprintf("%q is not an image reference", credential.WithoutPassword(ref))
	_, lowerErr := reference.ParseNormalizedNamed(strings.ToLower(ref))
	switch {
	case lowerErr == nil:
		return msg, fmt.Sprintf("names are lower case: %q", strings.ToLower(ref))
	case errors.Is(err, reference.ErrNameTooLong):
		return msg, "the name is too long"
	case strings.Contains(ref, "://"):
		return msg, "write it without a scheme: host[:port]/name[:tag]"
	}
	return msg, "write [host[:port]/]name[:tag][@digest]"
}

// reference is the name that the image asks to be pushed as, "" for none.
func (img Image) reference() string {
	if img.name == "" {
		return ""
	}
	name := path.Join(img.registry, img.name)
	if img.tag != "" {
		name += ":" + img.tag
	}
	return name
}

func (l *lowering) checkName() {
	img := l.img
	if img.registry != "" {
		at := img.marks.at("registry")
		// A registry alone is no reference; with any name below it, it has to be one.
		named, err := reference.ParseNormalizedNamed(img.registry + "/x")
		switch {
		case err != nil:
			msg, hint := fmt.Sprintf("%q is not a registry", credential.WithoutPassword(img.registry)), "write host[:port][/path], e.g. localhost:5000"
			if strings.ToLower(img.registry) != img.registry {
				hint = "it must be lower case"
			} else if strings.Contains(img.registry, "://") {
				hint = "write it without a scheme, e.g. ghcr.io/name"
			}
			l.fail(at, msg, hint)
			return
		case !reference.IsNameOnly(named):
			l.fail(at, fmt.Sprintf("%q is not a registry", img.registry), "the tag goes into tag")
			return
		}
	}
	switch {
	case img.name == "" && img.registry != "":
		l.fail(img.marks.at("registry"), "registry is given, but no name", "add name: the image's name in the registry")
		return
	case img.name == "" && img.tag != "":
		l.fail(img.marks.at("tag"), "tag is given, but no name", "add name: the image's name")
		return
	case img.name == "":
		return
	}
	l.checkImageName()
}

func (l *lowering) checkImageName() {
	img := l.img
	at := img.marks.at("name")
	if i := strings.LastIndexAny(img.name, ":@"); i >= 0 {
		l.fail(at, fmt.Sprintf("%q is not the name of an image", img.name), "the tag goes into tag, the registry with its port into registry")
		return
	}
	named, err := reference.ParseNormalizedNamed(path.Join(img.registry, img.name))
	if err != nil || strings.HasPrefix(img.name, "/") || strings.HasSuffix(img.name, "/") {
		hint := "write lower-case letters, digits and . _ - / in between"
		lower := strings.ToLower(img.name)
		if _, err := reference.ParseNormalizedNamed(lower); err == nil && lower != img.name {
			hint = fmt.Sprintf("names are lower case: %q", lower)
		}
		l.fail(at, fmt.Sprintf("%q is not the name of an image", img.name), hint)
		return
	}
	if img.tag == "" {
		return
	}
	if _, err := reference.WithTag(named, img.tag); err != nil {
		l.fail(img.marks.at("tag"), fmt.Sprintf("%q is not a tag", img.tag), "write up to 128 letters, digits and _ . -, e.g. v1.2")
	}
}

// knownPlatforms are what Linux images are commonly made for.
func knownPlatforms() []string {
	return []string{
		"linux/amd64", "linux/arm64", "linux/arm/v7", "linux/arm/v6", "linux/386", "linux/ppc64le", "linux/riscv64",
		"linux/s390x", "linux/loong64",
	}
}

func (l *lowering) checkPlatforms() []ocispecs.Platform {
	var out []ocispecs.Platform
	first := map[string]bool{}
	for i, text := range l.img.platforms {
		at := l.img.marks.at("platforms", i)
		p, err := platforms.Parse(text)
		p = platforms.Normalize(p)
		full := platforms.Format(p)
		if err != nil || !slices.Contains(knownPlatforms(), full) || !strings.Contains(text, "/") {
			hint := "write e.g. linux/amd64 or linux/arm64"
			if near, ok := nearest(text, knownPlatforms()); ok {
				hint = fmt.Sprintf("did you mean %q?", near)
			}
			l.fail(at, fmt.Sprintf("%q is not a platform that images can be made for", text), hint)
			continue
		}
		if first[full] {
			l.fail(at, fmt.Sprintf("the platform %q is listed twice", full), "")
			continue
		}
		first[full] = true
		out = append(out, p)
	}
	return out
}

// nearest is what was probably meant.
func nearest(text string, options []string) (string, bool) {
	for _, o := range options {
		if strings.EqualFold(o, text) || strings.HasSuffix(o, "/"+text) {
			return o, true
		}
	}
	return suggest.Search(text, options, true)
}
