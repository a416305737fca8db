package imports

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"

	"github.com/ibuild/ibuild/frontends/source"
)

// Limits of what is looked at.
const (
	fileLimit   = 20_000    // files that are found
	byteLimit   = 256 << 20 // bytes of Python that are read
	folderLimit = 100_000   // entries of one folder
	linkLimit   = 40        // links on the way to one file, as for Linux
)

// folder is the source: what is in its folders and files, read once.
type folder struct {
	fsys    fs.FS
	entries map[string]map[string][]string // folder → module's name → its files
	folders map[string]map[string]bool     // folder → names of folders in it, and links that may be ones; nil when it is none
	modules map[string]module              // file → imports
	bytes   int64
}

func newFolder(fsys fs.FS) *folder {
	return &folder{fsys: fsys, entries: map[string]map[string][]string{}, folders: map[string]map[string]bool{}, modules: map[string]module{}}
}

// list reads a folder; one that does not exist is empty.
func (f *folder) list(dir string) error {
	if _, ok := f.entries[dir]; ok {
		return nil
	}
	files, folders := map[string][]string{}, map[string]bool{}
	f.entries[dir] = files
	if info, err := fs.Stat(f.fsys, dir); err == nil && !info.IsDir() {
		return nil // a file, whose name a module has without its ending; opened, a pipe would be waited for
	}
	opened, err := f.fsys.Open(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return unreadable(dir, err)
	}
	defer opened.Close()
	reader, ok := opened.(fs.ReadDirFile)
	if !ok {
		return nil
	}
	list, err := reader.ReadDir(folderLimit + 1)
	if err != nil && !errors.Is(err, io.EOF) {
		return unreadable(dir, err)
	}
	if len(list) > folderLimit {
		return source.Errors{{File: dir, Msg: fmt.Sprintf("the folder has more than %d entries", folderLimit)}}
	}
	f.folders[dir] = folders
	for _, e := range list {
		link := e.Type()&fs.ModeSymlink != 0
		if link {
			// Python passes over a link to nothing. What else is wrong with it is said when it is used.
			if _, err := fs.Stat(f.fsys, path.Join(dir, e.Name())); errors.Is(err, fs.ErrNotExist) {
				continue
			}
		}
		if e.IsDir() || link {
			folders[e.Name()] = true
		}
		if name, ok := moduleName(e.Name()); ok && (e.Type().IsRegular() || link) {
			files[name] = append(files[name], path.Join(dir, e.Name()))
		}
	}
	return nil
}

// moduleName is the name of the module that a file belongs to.
func moduleName(file string) (string, bool) {
	name, _, _ := strings.Cut(file, ".")
	switch path.Ext(file) {
	case ".py", ".pyx", ".pxd":
		return name, name != "" && name+path.Ext(file) == file
	case ".so", ".pyd": // x.cpython-312-x86_64-linux-gnu.so
		return name, name != ""
	}
	return "", false
}

// read is what a Python file imports. Nothing is known of what compiled ones import.
func (f *folder) read(file string) (module, error) {
	m, ok := f.modules[file]
	switch ext := path.Ext(file); {
	case ok, ext == ".so", ext == ".pyd", ext == ".pxd":
		return m, nil
	}
	if info, err := fs.Stat(f.fsys, file); err == nil && !info.Mode().IsRegular() { // a pipe would be waited for
		return module{}, source.Errors{{File: file, Msg: "this is not a regular file"}}
	}
	opened, err := f.fsys.Open(file)
	if err != nil {
		return module{}, unreadable(file, err)
	}
	defer opened.Close()
	data, err := io.ReadAll(io.LimitReader(opened, source.ScriptLimit+1))
	if err != nil {
		return module{}, unreadable(file, err)
	}
	if len(data) > source.ScriptLimit {
		return module{}, source.Errors{{File: file, Msg: fmt.Sprintf("larger than the limit of %d MiB", source.ScriptLimit>>20)}}
	}
	if f.bytes += int64(len(data)); f.bytes > byteLimit {
		return module{}, source.Errors{{File: file, Msg: fmt.Sprintf("the imported modules have more than %d MiB", byteLimit>>20),
			Hint: "copy the folder instead"}}
	}
	m = read(strings.TrimPrefix(string(data), "\ufeff"))
	f.modules[file] = m
	return m, nil
}

// unreadable is an error with the system's own words.
func unreadable(file string, err error) error {
	var pe *fs.PathError
	msg := err.Error()
	if errors.As(err, &pe) {
		msg = pe.Err.Error()
	}
	if strings.Contains(msg, "escapes") { // os.Root has no name for this error
		return leaves(file, err)
	}
	return source.Errors{{File: file, Msg: "cannot be read: " + msg, Err: err}}
}

func leaves(file string, err error) error {
	return source.Errors{{File: file, Msg: "this is a symbolic link that leaves the source folder", Hint: "put the file into the folder", Err: err}}
}

// real follows the links on the way to a file. It returns the file's own path and all links that have to
// be there for the given one to mean it.
func (f *folder) real(file string) (string, []string, error) {
	var links []string
	done, rest := ".", file
	for rest != "" {
		var part string
		part, rest, _ = strings.Cut(rest, "/")
		next := path.Join(done, part)
		info, err := fs.Lstat(f.fsys, next)
		if err != nil {
			return "", nil, unreadable(next, err)
		}
		if info.Mode()&fs.ModeSymlink == 0 {
			done = next
			continue
		}
		target, err := fs.ReadLink(f.fsys, next)
		if err != nil {
			return "", nil, unreadable(next, err)
		}
		links = append(links, next)
		below := path.Join(path.Dir(next), target)
		if path.IsAbs(target) || !fs.ValidPath(below) {
			return "", nil, leaves(next, nil)
		}
		if len(links) > linkLimit {
			return "", nil, source.Errors{{File: file, Msg: "too many symbolic links"}}
		}
		done, rest = ".", path.Join(below, rest)
	}
	return done, links, nil
}
