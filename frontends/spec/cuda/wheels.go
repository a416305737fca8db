package cuda

import (
	"fmt"
	"slices"
	"strings"
)

// claim is a framework with the CUDA versions that it can have.
type claim struct {
	used
	rows  []release // nil when the table does not know them
	cudas []version
}

// fromWheels brings CUDA by Python packages.
func (c *chooser) fromWheels() {
	if c.base.ref != "" {
		c.add(Warning, FieldBase, fmt.Sprintf("the tag of base_image %q names no CUDA, so wheels bring it", c.base.ref),
			"if the base has CUDA, remove cuda and cudnn")
	}
	c.choice.Env = driverEnv()
	common := c.candidates()
	var claims []claim
	for _, u := range c.frameworks {
		cl := claim{used: u}
		var known bool
		if cl.rows, known = c.rows(u); known {
			cl.cudas = c.claimed(u, cl.rows)
			common = slices.DeleteFunc(common, func(cuda version) bool { return !slices.Contains(cl.cudas, cuda) })
		}
		claims = append(claims, cl)
	}
	if c.failed() {
		return
	}
	if len(common) == 0 {
		c.clash(claims)
		return
	}
	c.install(claims, c.pick(claims, common))
}

// candidates are the CUDA versions that the wish covers, newest first.
func (c *chooser) candidates() []version {
	var out []version
	for _, r := range cudaReleases() {
		if c.cuda.covers(r.version) && (!c.cudnn.given() || cudnnFits(c.cudnn, r.version.major)) {
			out = append(out, r.version)
		}
	}
	if len(out) == 0 { // newer than the table, which has been said
		out = append(out, version{set: true, major: c.cuda.major, minor: c.cuda.minor, patch: -1})
	}
	return out
}

// claimed are the candidates that a framework can have; none is an error that says why.
func (c *chooser) claimed(u used, rows []release) []version {
	if len(rows) == 0 {
		return nil
	}
	out := c.candidates()
	out = slices.DeleteFunc(out, func(cuda version) bool { return !u.takes(rows, cuda, c.cudnn) })
	withArm64 := slices.DeleteFunc(slices.Clone(rows), func(r release) bool { return !r.arm64 })
	switch {
	case len(out) > 0 && c.arm64() && !slices.ContainsFunc(out, func(cuda version) bool { return u.takes(withArm64, cuda, c.cudnn) }):
		c.noArm64(u)
	case len(out) > 0:
	case c.mayHaveMore(u, rows):
		c.addPackage(Warning, u.main().index, fmt.Sprintf("whether %s has wheels for CUDA %s is not known to ibuild", u.text(), c.cuda.short()),
			fmt.Sprintf("known is CUDA %s", cudaList(rows, u)))
		return c.candidates()
	default:
		c.explain(u, rows)
	}
	return out
}

// mayHaveMore says whether a release may have a build for the wish that is not in the table.
func (c *chooser) mayHaveMore(u used, rows []release) bool {
	local, cpu := u.local()
	known := slices.ContainsFunc(u.builds(rows), func(b build) bool { return b.supports(c.cuda) })
	return c.cuda.given() && !known && !cpu && !local.given() && slices.ContainsFunc(rows, func(r release) bool { return r.partly })
}

func (c *chooser) noArm64(u used) {
	hint := "build it for linux/amd64 only"
	if u.name == torchName {
		c.addPackage(Warning, u.main().index, fmt.Sprintf("wheels of %s with CUDA for linux/arm64 are not known to ibuild", u.text()), "torch has them from 2.9 on")
		return
	}
	if u.name == jaxName {
		hint = "jax has them from 0.4.29 on"
	}
	c.addPackage(Error, u.main().index, fmt.Sprintf("%s has no wheels with CUDA for linux/arm64", u.text()), hint)
}

// takes says whether one of the releases can be had with a CUDA and a cuDNN.
func (u used) takes(rows []release, cuda, cudnn version) bool {
	local, cpu := u.local()
	if cpu || local.given() && !cuda.covers(local) || u.extraMajor() > 0 && u.extraMajor() != cuda.major {
		return false
	}
	return slices.ContainsFunc(rows, func(r release) bool {
		return r.noWheels == "" && slices.ContainsFunc(r.builds, func(b build) bool { return b.supports(cuda) && b.bringsCuDNN(cudnn) })
	})
}

// explain says why a framework can have none of the candidates.
func (c *chooser) explain(u used, rows []release) {
	local, cpu := u.local()
	i := u.main().index
	switch {
	case cpu:
		c.addPackage(Error, i, fmt.Sprintf("%s: %s is a wheel without CUDA", c.asked(), u.text()), "remove +cpu")
		return
	case local.given() && !c.cuda.covers(local):
		c.addPackage(Error, i, fmt.Sprintf("cuda: %q, but %s is the wheel for CUDA %s", c.wish.CUDA, u.text(), local.short()),
			fmt.Sprintf("write cuda: %q, or remove the part after +", local.short()))
		return
	case u.extraMajor() > 0 && c.cuda.given() && u.extraMajor() != c.cuda.major:
		c.addPackage(Error, i, fmt.Sprintf("cuda: %q, but the extra of %s is for CUDA %d", c.wish.CUDA, u.text(), u.extraMajor()),
			"remove the extra: ibuild adds the right one")
		return
	}
	for _, b := range u.builds(rows) {
		if slices.ContainsFunc(c.candidates(), b.supports) && !b.bringsCuDNN(c.cudnn) {
			c.add(Error, FieldCuDNN, fmt.Sprintf("cudnn: %q does not go with %s: its wheels for CUDA %s bring cuDNN %s", c.wish.CuDNN, u.text(), b, b.cudnn),
				fmt.Sprintf("write cudnn: %q", b.cudnn))
			return
		}
	}
	if why := rows[0].noWheels; why != "" && slices.ContainsFunc(u.builds(rows), func(b build) bool { return slices.ContainsFunc(c.candidates(), b.supports) }) {
		c.addPackage(Error, i, fmt.Sprintf("%s: wheels cannot bring CUDA for %s: %s", c.asked(), u.text(), why),
			fmt.Sprintf("take tensorflow>=2.15.1, or base_image: tensorflow/tensorflow:%s.%d-gpu", rows[0].minor, rows[0].first))
		return
	}
	hint := fmt.Sprintf("write cuda: %q", u.builds(rows)[0].cuda)
	if other := c.otherRelease(u, c.cuda); other != "" {
		hint += "; " + other
	}
	c.add(Error, c.field(), fmt.Sprintf("%s does not go with %s, which is made for CUDA %s", c.asked(), u.text(), cudaList(rows, u)), hint)
}

// otherRelease names the releases of a framework that are made for a CUDA.
func (c *chooser) otherRelease(u used, cuda version) string {
	var minors []string
	for _, r := range u.releases {
		if r.noWheels == "" && !slices.Contains(minors, r.minor) && slices.ContainsFunc(r.builds, func(b build) bool { return b.supports(cuda) }) {
			minors = append(minors, r.minor)
		}
	}
	if len(minors) == 0 {
		return ""
	}
	slices.Reverse(minors)
	return fmt.Sprintf("for CUDA %s there is %s %s", cuda.short(), u.name, strings.Join(minors, ", "))
}

// clash is about frameworks of which each could have its CUDA, but not all the same one.
func (c *chooser) clash(claims []claim) {
	var parts []string
	last := 0
	for _, cl := range claims {
		if cl.rows != nil {
			parts = append(parts, fmt.Sprintf("%s (CUDA %s)", cl.text(), cudaList(cl.rows, cl.used)))
			last = cl.main().index
		}
	}
	c.addPackage(Error, last, fmt.Sprintf("%s: these need different CUDA versions in one image: %s", c.asked(), strings.Join(parts, ", ")),
		"take releases that have a CUDA version in common, or make two images")
}

// pick takes what lets torch be newest, of that what PyPI has, which needs no other index; then the newest.
func (c *chooser) pick(claims []claim, common []version) version {
	for _, cl := range claims {
		if cl.name != torchName {
			continue
		}
		for _, r := range cl.rows {
			if pypi := v(r.pypi); cl.takes([]release{r}, pypi, c.cudnn) && slices.Contains(common, pypi) {
				return pypi
			}
			for _, cuda := range common {
				if cl.takes([]release{r}, cuda, c.cudnn) {
					return cuda
				}
			}
		}
	}
	return common[0]
}

// install adds what brings the CUDA that was picked.
func (c *chooser) install(claims []claim, cuda version) {
	c.settle(cuda)
	if c.cudnn.given() {
		c.choice.CuDNN = c.cudnn.short()
	}
	pinned := false // by the exact versions that a framework's own requirements name
	for _, cl := range claims {
		switch cl.name {
		case torchName:
			c.torchIndex(cl.used, cl.rows, cuda)
			pinned = true
		case jaxName:
			c.jaxExtra(cl.used, cuda)
		default:
			c.extra(cl.used, "and-cuda")
			pinned = pinned || len(cl.rows) > 0 && !cl.rows[0].builds[0].orLater
		}
	}
	if !pinned {
		c.toolkit(cuda, len(claims) > 0)
	}
}

// torchIndex is where torch's wheels for a CUDA are. PyPI will do when it has no other ones for any
// release that the pins let in.
func (c *chooser) torchIndex(u used, rows []release, cuda version) {
	c.choice.CuDNN = torchCuDNN(rows, cuda, c.choice.CuDNN)
	local, _ := u.local()
	onPyPI := func(r release) bool { return r.pypi == cuda.short() && (r.pypiArm64 || !c.arm64()) }
	if len(rows) > 0 && !local.given() && !u.open() && !slices.ContainsFunc(rows, func(r release) bool { return !onPyPI(r) }) {
		return
	}
	if cuda.minor < 0 {
		return
	}
	backend := "cu" + strings.ReplaceAll(cuda.short(), ".", "")
	c.choice.Indexes = append(c.choice.Indexes, "https://download.pytorch.org/whl/"+backend)
	// The values are fixed in uv; this list is the part of it that torch's table needs.
	if slices.Contains([]string{"cu117", "cu118", "cu121", "cu124", "cu126", "cu128", "cu129", "cu130", "cu132"}, backend) {
		c.choice.TorchBackend = backend
	}
}

// torchCuDNN is what the newest of the releases brings for a CUDA, or what was known before.
func torchCuDNN(rows []release, cuda version, before string) string {
	for _, r := range rows {
		for _, b := range r.builds {
			if b.supports(cuda) {
				return b.cudnn
			}
		}
	}
	return before
}

// jaxExtra makes jax bring CUDA's wheels, and refuses the extra that expects CUDA in the base.
func (c *chooser) jaxExtra(u used, cuda version) {
	if slices.ContainsFunc(u.allExtras(), func(e string) bool { return strings.HasSuffix(e, "-local") }) {
		c.addPackage(Error, u.main().index, fmt.Sprintf("the extra of %s takes CUDA from the base, which has none", u.text()),
			"remove the extra: ibuild adds the right one")
		return
	}
	c.extra(u, fmt.Sprintf("cuda%d", cuda.major))
}

// extra adds the framework's own requirement again, with the extra that brings CUDA.
func (c *chooser) extra(u used, extra string) {
	p := u.main()
	if p.url || slices.Contains(p.extras, extra) {
		return
	}
	text := p.name + "[" + extra + "]" + p.spec
	if p.marker != "" {
		text += " ; " + p.marker
	}
	c.choice.Additions = append(c.choice.Additions, Addition{text, p.index})
}

// toolkit holds NVIDIA's libraries to the wished versions. Without a framework, it is also what brings
// them, and nobody but the environment tells the loader where they are.
func (c *chooser) toolkit(cuda version, framework bool) {
	if !framework || c.cuda.given() && c.cuda.minor >= 0 {
		c.checkToolkit(cuda)
		wanted := cuda.short()
		if c.cuda.patch >= 0 {
			wanted = fmt.Sprintf("%s.%d", wanted, c.cuda.patch)
		}
		c.choice.Additions = append(c.choice.Additions, Addition{fmt.Sprintf("cuda-toolkit[%s]==%s.*", toolkitExtras(cuda.major), wanted), -1})
	}
	if c.cudnn.given() {
		c.choice.Additions = append(c.choice.Additions, Addition{fmt.Sprintf("nvidia-cudnn-cu%d==%s.*", cuda.major, c.wish.CuDNN), -1})
	}
	switch {
	case framework:
	case c.wish.SitePackages == "":
		c.add(Warning, c.field(), "where the base installs wheels is not known, so the loader does not find the libraries of CUDA",
			"set LD_LIBRARY_PATH in env")
	default:
		c.choice.Env["LD_LIBRARY_PATH"] = libraryPath(c.wish.SitePackages, cuda.major, c.cudnn.given())
	}
}

// checkToolkit says where the libraries are not on PyPI.
func (c *chooser) checkToolkit(cuda version) {
	if cuda.compare(v(oldestToolkitWheel)) < 0 {
		c.add(Error, FieldCUDA, fmt.Sprintf("cuda: %q: there are no wheels for CUDA %s", c.wish.CUDA, cuda.short()),
			fmt.Sprintf("the oldest is %s; or take a base that has it", oldestToolkitWheel))
	}
	if c.arm64() && cuda.major == 12 && cuda.compare(v(firstArm64Wheel)) < 0 {
		c.add(Error, FieldCUDA, fmt.Sprintf("cuda: %q: there are no wheels for CUDA %s on linux/arm64", c.wish.CUDA, cuda.short()),
			fmt.Sprintf("the oldest of CUDA 12 is %s", firstArm64Wheel))
	}
}
