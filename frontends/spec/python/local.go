package python

import (
	"net/url"
	"path"
	"strings"
)

// Kind says what a local path is.
type Kind int

// What a [Local] can be.
const (
	Wheel  Kind = iota + 1 // a .whl file
	Sdist                  // an archive of sources
	Folder                 // a project with a pyproject.toml or a setup.py
	Links                  // a folder of wheels and archives (--find-links)
)

// String is the kind as messages say it.
func (k Kind) String() string {
	switch k {
	case Wheel:
		return "wheel"
	case Sdist:
		return "source archive"
	case Folder:
		return "project folder"
	case Links:
		return "find-links folder"
	}
	return "unknown"
}

// Local is a file or folder that an installation needs beside the text that names it.
type Local struct {
	Path     string // relative to the tree's root, slash-separated, "." for the root
	Kind     Kind
	Editable bool // the folder is used in place, so it has to stay where it is installed from

	// Where it is asked for: File is "" when the caller knows that better, Line and Column are from 1.
	File         string
	Line, Column int
}

// LocalRef is a requirement that is a path, such as "./pkg[extra]" or "x @ wheels/x-1-py3-none-any.whl".
type LocalRef struct {
	Path string // as written, without name, extras, "file:", marker and fragment
	Kind Kind   // what the path's ending says: [Wheel], [Sdist] or [Folder]
}

// projectRoot is the variable by which uv lets a URL begin in the folder that uv runs in.
const projectRoot = "${PROJECT_ROOT}"

// ParseLocal says whether one requirement, as a requirements file or a list of packages has it, is a
// path on this machine, and of which kind. A bare word ("pkg") is the name of a package.
func ParseLocal(requirement string) (LocalRef, bool) {
	if !IsLocal(requirement) && !strings.Contains(requirement, projectRoot) {
		return LocalRef{}, false
	}
	return parseRef(requirement), true
}

// parseRef reads a text that is known to be a path, as that of an editable is.
func parseRef(requirement string) LocalRef {
	target, _, _ := strings.Cut(requirement, ";")
	if name, after, ok := strings.Cut(target, "@"); ok && isNameAndExtras(name) {
		target = after
	}
	target = strings.TrimSpace(target)
	if rest, ok := strings.CutPrefix(target, "file:"); ok {
		target = strings.TrimPrefix(rest, "//")
		if plain, err := url.PathUnescape(target); err == nil {
			target = plain
		}
	}
	if rest, ok := strings.CutPrefix(strings.TrimPrefix(target, "/"), projectRoot); ok {
		target = "." + rest
	}
	target, _, _ = strings.Cut(target, "#")
	if open := strings.LastIndexByte(target, '['); open > 0 && strings.HasSuffix(target, "]") {
		target = target[:open]
	}
	target = strings.TrimSpace(target)
	return LocalRef{Path: target, Kind: KindOf(target)}
}

// isNameAndExtras says whether text can stand before the @ of a direct reference.
func isNameAndExtras(text string) bool {
	r, err := ParseRequirement(text)
	return err == nil && r.Specifier == "" && r.URL == "" && r.Marker == ""
}

// KindOf is what a path's ending says that it is: [Wheel], [Sdist] by the endings that uv takes for
// archives, else [Folder].
func KindOf(name string) Kind {
	lower := strings.ToLower(path.Base(name))
	if strings.HasSuffix(lower, ".whl") {
		return Wheel
	}
	for _, ending := range []string{".tar.gz", ".tgz", ".zip", ".tar.bz2", ".tbz", ".tar.xz", ".txz", ".tar.zst", ".tar"} {
		if strings.HasSuffix(lower, ending) {
			return Sdist
		}
	}
	return Folder
}
