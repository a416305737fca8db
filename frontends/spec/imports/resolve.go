package imports

import (
	"path"
	"strings"
)

// location is where a module was found.
type location struct {
	local    bool     // a beginning of its name is in this source
	complete bool     // all of it is
	files    []string // of the module itself; none for a namespace package
	search   []string // folders of its submodules; none when it is no package
}

// resolve looks an absolute name up, and takes in the module and all packages above it.
func (f *finder) resolve(name string) (location, error) {
	at := location{complete: true, search: f.path}
	full := ""
	for part := range strings.SplitSeq(name, ".") {
		if part == "" { // "from . import x" in a program without a package
			continue
		}
		found, err := f.submodule(full, at, part)
		if err != nil {
			return location{}, err
		}
		if !found.complete {
			return location{local: at.local}, nil
		}
		full = strings.TrimPrefix(full+"."+part, ".")
		at = found
	}
	return at, nil
}

// submodule looks for one name in a package, or, when the package's name is empty, in the path.
func (f *finder) submodule(pkg string, in location, name string) (location, error) {
	full := strings.TrimPrefix(pkg+"."+name, ".")
	var namespace []string
	for _, dir := range in.search {
		if err := f.list(dir); err != nil {
			return location{}, err
		}
		sub := path.Join(dir, name)
		if f.folders[dir][name] {
			if err := f.list(sub); err != nil {
				return location{}, err
			}
			if files := f.entries[sub]["__init__"]; len(files) > 0 {
				return location{local: true, complete: true, files: files, search: []string{sub}}, f.addAll(files, full, true)
			}
			if f.folders[sub] != nil {
				namespace = append(namespace, sub)
			}
		}
		if files := f.entries[dir][name]; len(files) > 0 {
			return location{local: true, complete: true, files: files}, f.addAll(files, full, false)
		}
	}
	return location{local: len(namespace) > 0, complete: len(namespace) > 0, search: namespace}, nil
}

// addAll takes in the files of a module: x.py and what is compiled of it.
func (f *finder) addAll(files []string, name string, isPackage bool) error {
	for _, file := range files {
		if err := f.add(node{file: file, name: name, isPackage: isPackage}); err != nil {
			return err
		}
	}
	return nil
}
