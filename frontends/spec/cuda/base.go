package cuda

import (
	"fmt"
	"path"
	"strings"

	"github.com/ibuild/ibuild/frontends/spec/python"
)

// base is what the reference of a base image tells. The Debian base is the zero value.
type base struct {
	ref              string
	hasCUDA          bool
	opaque           bool    // it has CUDA, the tag does not say which
	cuda, cudnn      version // cudnn is zero where there is none, or the tag does not say
	framework        string  // that is in it, "" for none
	frameworkVersion string
}

// readBase reads the tags of nvidia/cuda (12.4.1-cudnn-runtime-ubuntu22.04), pytorch/pytorch
// (2.4.0-cuda12.4-cudnn9-runtime), tensorflow/tensorflow (2.15.0-gpu), and those made like them.
func readBase(ref string) base {
	b := base{ref: ref}
	name, tag := splitRef(ref)
	repository := path.Base(name)
	words := strings.Split(tag, "-")
	if first, ok := parseVersion(words[0]); ok {
		switch repository {
		case "cuda":
			b.cuda = first
		case "pytorch":
			b.framework, b.frameworkVersion = torchName, words[0]
		case "tensorflow":
			b.framework, b.frameworkVersion = tensorflowName, words[0]
		}
	}
	for _, w := range words {
		b.readWord(w)
	}
	if b.framework == tensorflowName && strings.Contains(tag, "-gpu") {
		b.fromTensorFlow()
	}
	b.hasCUDA = b.cuda.given()
	// NVIDIA's framework images are tagged by year and month.
	b.opaque = !b.hasCUDA && (strings.HasPrefix(name, "nvcr.io/nvidia/") || strings.HasPrefix(name, "nvidia/"))
	return b
}

// readWord reads one part of a tag: cuda12.4, cu124, cudnn9, cudnn.
func (b *base) readWord(word string) {
	if rest, ok := strings.CutPrefix(word, "cudnn"); ok {
		if rest == "" {
			rest = "9" // since CUDA 12.4 the tags have no number, and the images cuDNN 9
		}
		if parsed, ok := parseVersion(rest); ok {
			b.cudnn = parsed
		}
		return
	}
	rest, ok := strings.CutPrefix(word, "cuda")
	if !ok {
		rest, ok = strings.CutPrefix(word, "cu")
		if !ok || len(rest) != 3 {
			return
		}
		rest = rest[:2] + "." + rest[2:]
	}
	if parsed, ok := parseVersion(rest); ok && parsed.minor >= 0 {
		b.cuda = parsed
	}
}

// fromTensorFlow takes from the table what TensorFlow's own GPU images are made with.
func (b *base) fromTensorFlow() {
	for _, r := range tensorflowReleases() {
		if r.has(b.frameworkVersion) {
			b.cuda, b.cudnn = v(r.builds[0].cuda), v(r.builds[0].cudnn)
		}
	}
}

// splitRef parts a reference into name and tag; a digest is left away.
func splitRef(ref string) (name, tag string) {
	name, _, _ = strings.Cut(ref, "@")
	name = strings.TrimPrefix(name, "docker.io/")
	if i := strings.LastIndex(name, ":"); i > strings.LastIndex(name, "/") {
		name, tag = name[:i], name[i+1:]
	}
	return name, tag
}

// fromBase checks a base that has CUDA; nothing but the frameworks' own needs is installed.
func (c *chooser) fromBase() {
	c.choice.FromBase = true
	if c.base.opaque {
		c.add(Warning, FieldBase, fmt.Sprintf("the tag of %q does not tell its CUDA, so %s was not checked", c.base.ref, c.asked()), "")
		return
	}
	c.settle(c.base.cuda)
	if c.base.cudnn.given() {
		c.choice.CuDNN = c.base.cudnn.short()
	}
	c.compareBase()
	if c.failed() {
		return
	}
	for _, u := range c.frameworks {
		if u.name == c.base.framework {
			c.sameFramework(u)
			continue
		}
		switch u.name {
		case torchName:
			c.torchOnBase(u)
		default:
			c.libraryOnBase(u)
		}
	}
}

// compareBase says where wish and tag differ.
func (c *chooser) compareBase() {
	b := c.base
	switch {
	case !c.cuda.covers(b.cuda):
		c.add(Error, FieldCUDA, fmt.Sprintf("cuda: %q, but base_image %q has CUDA %s", c.wish.CUDA, b.ref, b.cuda.short()),
			fmt.Sprintf("write cuda: %q, or take the base for CUDA %s", b.cuda.short(), c.cuda.short()))
	case c.cuda.patch >= 0 && b.cuda.patch >= 0 && c.cuda.set && c.cuda.patch != b.cuda.patch:
		c.add(Warning, FieldCUDA, fmt.Sprintf("cuda: %q, but base_image %q has CUDA %s.%d", c.wish.CUDA, b.ref, b.cuda.short(), b.cuda.patch), "")
	}
	switch {
	case !c.cudnn.given():
	case !b.cudnn.given():
		c.add(Error, FieldCuDNN, fmt.Sprintf("cudnn: %q, but the tag of base_image %q names no cuDNN", c.wish.CuDNN, b.ref),
			"take the base's tag with -cudnn- in it")
	case !c.cudnn.covers(b.cudnn):
		c.add(Error, FieldCuDNN, fmt.Sprintf("cudnn: %q, but base_image %q has cuDNN %s", c.wish.CuDNN, b.ref, b.cudnn.short()),
			fmt.Sprintf("write cudnn: %q, or take another base", b.cudnn.short()))
	}
}

// sameFramework is a requirement for what the base already has.
func (c *chooser) sameFramework(u used) {
	for _, p := range u.pins {
		if p.conditional || p.spec == "" || python.Allows(p.spec, c.base.frameworkVersion) {
			continue
		}
		c.addPackage(Warning, p.index, fmt.Sprintf("%q replaces the %s %s of base_image %q", p.text, u.name, c.base.frameworkVersion, c.base.ref),
			"take the base that has this version, or remove the requirement")
	}
}

// torchOnBase picks torch's wheels for the base's CUDA: they bring their own, which must be of the same
// major version for the driver, and is best the same.
func (c *chooser) torchOnBase(u used) {
	rows, known := c.rows(u)
	if !known || len(rows) == 0 {
		return
	}
	var best version
	for _, b := range u.builds(rows) {
		own := v(b.cuda)
		if own.major == c.base.cuda.major && (!best.given() || abs(own.minor-c.base.cuda.minor) < abs(best.minor-c.base.cuda.minor)) {
			best = own
		}
	}
	if !best.given() {
		c.addPackage(Error, u.main().index, fmt.Sprintf("%s does not go with base_image %q, which has CUDA %s: its wheels are for CUDA %s",
			u.text(), c.base.ref, c.base.cuda.short(), cudaList(rows, u)), c.otherRelease(u, c.base.cuda))
		return
	}
	if best.short() != c.base.cuda.short() {
		c.addPackage(Warning, u.main().index, fmt.Sprintf("%s has no wheels for CUDA %s of base_image %q; those for CUDA %s are taken, which bring their own CUDA",
			u.text(), c.base.cuda.short(), c.base.ref, best.short()), "")
	}
	c.torchIndex(u, rows, best)
}

// libraryOnBase checks a framework that takes CUDA from the image.
func (c *chooser) libraryOnBase(u used) {
	rows, known := c.rows(u)
	if !known || len(rows) == 0 {
		return
	}
	exact, major := false, false
	for _, b := range u.builds(rows) {
		sameCuDNN := !c.base.cudnn.given() || v(b.cudnn).major == c.base.cudnn.major
		exact = exact || b.supports(c.base.cuda) && sameCuDNN
		// NVIDIA keeps the libraries of one major version compatible, so an older minor one mostly works.
		major = major || v(b.cuda).major == c.base.cuda.major && sameCuDNN
	}
	what := fmt.Sprintf("%s is made for CUDA %s", u.text(), cudaList(rows, u))
	switch {
	case !major || !exact && u.name == jaxName:
		c.addPackage(Error, u.main().index, fmt.Sprintf("%s, base_image %q has %s", what, c.base.ref, c.base.words()), c.otherRelease(u, c.base.cuda))
		return
	case !exact:
		c.addPackage(Warning, u.main().index, fmt.Sprintf("%s, base_image %q has %s; this pair is not tested", what, c.base.ref, c.base.words()), "")
	}
	if !c.base.cudnn.given() {
		c.addPackage(Warning, u.main().index, fmt.Sprintf("%s needs cuDNN, and the tag of base_image %q names none", u.text(), c.base.ref),
			"take the base's tag with -cudnn- in it")
	}
	switch asks := u.extraMajor(); {
	case u.name != jaxName || asks == c.base.cuda.major:
	case asks == 0:
		c.extra(u, fmt.Sprintf("cuda%d-local", c.base.cuda.major))
	default:
		c.addPackage(Error, u.main().index, fmt.Sprintf("the extra of %s is for CUDA %d, base_image %q has CUDA %s", u.text(), asks, c.base.ref, c.base.cuda.short()),
			"remove the extra: ibuild adds the right one")
	}
}

// words is what the base has.
func (b base) words() string {
	if b.cudnn.given() {
		return fmt.Sprintf("CUDA %s with cuDNN %s", b.cuda.short(), b.cudnn.short())
	}
	return "CUDA " + b.cuda.short()
}
