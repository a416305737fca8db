package cuda

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// version is up to three numbers; a part that is not given is -1, and in the zero version none is.
type version struct {
	set                 bool
	major, minor, patch int
}

// v is a version of the tables; these are right, so there is no error.
func v(text string) version {
	parsed, _ := parseVersion(text)
	return parsed
}

// parseVersion reads "12", "12.4", "12.4.1"; a fourth number, as cuDNN's wheels have, is left away.
func parseVersion(text string) (version, bool) {
	parts := strings.Split(text, ".")
	if len(parts) > 4 {
		return version{}, false
	}
	out := version{set: true, minor: -1, patch: -1}
	for i, p := range parts {
		n, ok := number(p)
		if !ok {
			return version{}, false
		}
		switch i {
		case 0:
			out.major = n
		case 1:
			out.minor = n
		case 2:
			out.patch = n
		}
	}
	return out, true
}

func number(text string) (int, bool) {
	if text == "" || len(text) > 6 || strings.Trim(text, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.Atoi(text)
	return n, err == nil
}

func (a version) given() bool { return a.set }

// short is major and minor, as far as they are given.
func (a version) short() string {
	if a.minor < 0 {
		return strconv.Itoa(a.major)
	}
	return fmt.Sprintf("%d.%d", a.major, a.minor)
}

func (a version) compare(b version) int {
	return cmp.Or(cmp.Compare(a.major, b.major), cmp.Compare(a.minor, b.minor), cmp.Compare(a.patch, b.patch))
}

// covers says whether b is one of those that a stands for: "12" covers "12.4", nothing covers all.
// Patch releases make no difference.
func (a version) covers(b version) bool {
	return !a.set || a.major == b.major && (a.minor < 0 || b.minor < 0 || a.minor == b.minor)
}

// atLeast says whether a is b or a later one of the same major version.
func (a version) atLeast(b version) bool {
	return a.major == b.major && (a.minor < 0 || a.minor >= b.minor)
}

// readCUDA reads the wished CUDA and says where there is no such.
func (c *chooser) readCUDA() {
	if c.wish.CUDA == "" {
		return
	}
	wished, ok := parseVersion(c.wish.CUDA)
	if !ok {
		c.add(Error, FieldCUDA, fmt.Sprintf("cuda: %q is not a version of CUDA", c.wish.CUDA), suggestCUDA(c.wish.CUDA))
		return
	}
	c.cuda = wished
	known := cudaReleases()
	newest := known[0].version
	i := slices.IndexFunc(known, func(r cudaRelease) bool { return wished.covers(r.version) })
	switch {
	case i < 0 && wished.compare(newest) > 0 && wished.major <= newest.major+1:
		c.add(Warning, FieldCUDA, fmt.Sprintf("cuda: %q is newer than all that are known to ibuild", c.wish.CUDA),
			fmt.Sprintf("the newest known is %s", newest.short()))
	case i < 0:
		c.add(Error, FieldCUDA, fmt.Sprintf("cuda: there is no CUDA %s", c.wish.CUDA), suggestCUDA(c.wish.CUDA))
	case wished.patch > known[i].patch:
		c.add(Warning, FieldCUDA, fmt.Sprintf("cuda: %q is not known to ibuild, the newest of CUDA %s is %s.%d",
			c.wish.CUDA, known[i].version.short(), known[i].version.short(), known[i].patch),
			fmt.Sprintf("did you mean %q?", known[i].version.short()))
	}
}

// suggestCUDA guesses at what was meant: "12,4", "cu124" and "v12.4" are 12.4, and 12.7 is near 12.6.
func suggestCUDA(text string) string {
	fields := strings.FieldsFunc(text, func(r rune) bool { return r < '0' || r > '9' })
	if len(fields) == 1 && len(fields[0]) == 3 {
		fields = []string{fields[0][:2], fields[0][2:]}
	}
	if len(fields) > 2 {
		fields = fields[:2]
	}
	meant, ok := parseVersion(strings.Join(fields, "."))
	if !ok {
		return "write major and minor version, e.g. 12.4"
	}
	return fmt.Sprintf("did you mean %q?", nearestCUDA(meant).short())
}

// nearestCUDA is the known version that is nearest: of the same major version where there is one. Of two
// that are equally near it is the older one, which runs with more drivers.
func nearestCUDA(meant version) version {
	known := cudaReleases()
	switch {
	case meant.major > known[0].version.major:
		return known[0].version
	case meant.major < v(oldestToolkitWheel).major:
		return v(oldestToolkitWheel)
	}
	far := func(r cudaRelease) int {
		if r.version.major != meant.major {
			return math.MaxInt
		}
		return abs(r.version.minor - max(meant.minor, 0))
	}
	return slices.MinFunc(known, func(a, b cudaRelease) int {
		return cmp.Or(cmp.Compare(far(a), far(b)), a.version.compare(b.version))
	}).version
}

func abs(n int) int { return max(n, -n) }

// readCuDNN reads the wished cuDNN and says where there is no such.
func (c *chooser) readCuDNN() {
	if c.wish.CuDNN == "" {
		return
	}
	wished, ok := parseVersion(c.wish.CuDNN)
	newest := v(newestCuDNNRelease)
	switch {
	case !ok:
		c.add(Error, FieldCuDNN, fmt.Sprintf("cudnn: %q is not a version of cuDNN", c.wish.CuDNN), `write major version, or major and minor, e.g. "9" or "9.1"`)
		return
	case wished.major < oldestCuDNNMajor:
		c.add(Error, FieldCuDNN, fmt.Sprintf("cudnn: %q is for CUDA 10 and older, which ibuild does not know", c.wish.CuDNN),
			"take an existing image as the base, or a newer cuDNN")
	case wished.major > newest.major || wished.major == 8 && wished.minor > lastCuDNN8:
		c.add(Error, FieldCuDNN, fmt.Sprintf("cudnn: there is no cuDNN %s", c.wish.CuDNN),
			fmt.Sprintf("did you mean %q?", strconv.Itoa(min(wished.major, newest.major))))
	case wished.compare(newest) > 0 && wished.minor > newest.minor:
		c.add(Warning, FieldCuDNN, fmt.Sprintf("cudnn: %q is newer than all that are known to ibuild", c.wish.CuDNN),
			fmt.Sprintf("the newest known is %s", newest.short()))
	}
	c.cudnn = wished
}
