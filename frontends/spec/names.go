package spec

import (
	"cmp"
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

// checkTools checks the helper images, and what else names something outside of the image.
func (l *lowering) checkTools() {
	t, m := l.img.tools, l.img.marks
	l.checkReference("uv_image", t.UVImage, m.at("uv_image"))
	l.checkReference("micromamba_image", t.MicromambaImage, m.at("micromamba_image"))
	l.checkReference("pixi_image", t.PixiImage, m.at("pixi_image"))
	l.tools.UVImage = cmp.Or(t.UVImage, l.tools.UVImage)
	l.tools.MicromambaImage = cmp.Or(t.MicromambaImage, l.tools.MicromambaImage)
	l.tools.PixiImage = cmp.Or(t.PixiImage, l.tools.PixiImage)
	if l.img.tagFormat != "" && l.img.tag != "" {
		l.fail(m.at("tag_format"), "tag and tag_format both say what the tag is", "keep one of them")
	} else if l.img.tagFormat != "" {
		if err := llb.CheckTagFormat(l.img.tagFormat); err != nil {
			l.fail(m.at("tag_format"), err.Error(), "write e.g. {spec_hash}-dev")
		}
	}
	if f := l.img.registryConfig; f != "" && l.checkSource(f, m.at("registry_config")) && l.folder != nil {
		if _, dir, ok := l.find(f, m.at("registry_config")); ok && dir {
			l.fail(m.at("registry_config"), fmt.Sprintf("the registry_config %q is a folder", f), "name a docker config.json")
		}
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
