package engine

import (
	"context"
	"io/fs"
	"path"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/ibuild/ibuild/registry"
)

// needsBuilder says why code cannot be put on an environment image in this process.
type needsBuilder struct {
	why     string
	unknown bool // more facts may help
}

func (e *needsBuilder) Error() string { return e.why }

// codeTree follows the file tree of an environment image while code is put on it.
//
// The rule (design.md 1.6): a layer never carries an entry for a folder that code did not create, because
// unpacking would overwrite the folder's mode and owner, or replace a symbolic link of that name. Every path is
// looked up in the facts; where code goes is found as BuildKit finds it (links on the way to a destination are
// followed, those below a copied folder are not), and what is not known, or what BuildKit would refuse, is left
// to the builder.
type codeTree struct {
	facts *Facts
	added map[string]Node // what the code made, by its path without links
	more  *explorer       // learns what is not known yet; nil when nobody can be asked
}

// node says what is at a path without links.
func (t *codeTree) node(ctx context.Context, p string) (Node, error) {
	for dir := p; dir != "/"; dir = path.Dir(dir) {
		if n, ok := t.added[dir]; ok {
			if dir == p {
				return n, nil
			}
			return Node{}, nil // below something that code made, and not made by code
		}
	}
	if !utf8.ValidString(p) { // such names are in no facts
		return Node{}, &needsBuilder{why: "the name " + strings.ToValidUTF8(p, "?") + " is not UTF-8"}
	}
	n, known := t.facts.node(p)
	if !known && t.more != nil {
		if err := t.more.list(ctx, path.Dir(p)); err != nil {
			return n, err
		}
		n, known = t.facts.node(p)
	}
	if known {
		return n, nil
	}
	for _, dir := range t.facts.Large {
		if dir == "/" || strings.HasPrefix(p, dir+"/") {
			return n, &needsBuilder{why: "the folder " + dir + " has too many entries to know them"}
		}
	}
	return n, &needsBuilder{"it is not known what " + p + " is in the environment image", true}
}

const (
	// maxLinks is how many links are followed for one path, as in BuildKit's own walk (continuity's RootPath).
	maxLinks = 255
	// maxDepth is how many folders deep a destination may be. Links may come from anybody who can push facts;
	// each part of a path costs a look at all parts above it.
	maxDepth = 255
)

// resolve is the path without links that p leads to, which may be one where nothing is. The image's root is the
// end of every way up.
func (t *codeTree) resolve(ctx context.Context, p string) (string, error) {
	at, rest := "/", strings.Split(p, "/")
	links, up := 0, false
	for len(rest) > 0 {
		name := rest[0]
		rest = rest[1:]
		switch name {
		case "", ".":
			continue
		case "..":
			at = path.Dir(at)
			continue
		}
		next := path.Join(at, name)
		n, err := t.node(ctx, next)
		switch {
		case err != nil:
			return "", err
		case n.Kind == Link:
			target := strings.Split(n.Link, "/")
			links++
			up = up || slices.Contains(target, "..")
			rest = append(target, rest...)
			if strings.HasPrefix(n.Link, "/") {
				at = "/"
			}
		case (n.Kind == File || n.Kind == Other) && slices.ContainsFunc(rest, func(s string) bool { return s != "" }):
			return "", &needsBuilder{why: next + " is in the environment image and not a folder"}
		default:
			at = next
		}
		// BuildKit joins a target to a path whose own links it has not followed yet: only where one link is
		// all there is, ".." surely means the same.
		if links > maxLinks || links > 1 && up || len(rest) > maxDepth || strings.Count(at, "/") > maxDepth {
			return "", &needsBuilder{why: p + " is behind too many folders or links in the environment image"}
		}
	}
	return at, nil
}

// folders makes what is missing of a path without links. Folders that are there stay as they are.
func (t *codeTree) folders(ctx context.Context, dir string, who owner, l *codeLayer) error {
	if dir == "/" {
		return nil
	}
	if err := t.folders(ctx, path.Dir(dir), who, l); err != nil {
		return err
	}
	n, err := t.node(ctx, dir)
	switch {
	case err != nil || n.Kind == Folder:
		return err
	case n.Kind != Absent:
		return &needsBuilder{why: dir + " is in the environment image and not a folder"}
	}
	if who, err = t.inherited(ctx, dir, who); err != nil {
		return err
	}
	t.make(dir, 0o755, who, l)
	return nil
}

// inherited is the owner of something that is made at p for nobody in particular: a folder with the setgid
// bit gives it its group.
func (t *codeTree) inherited(ctx context.Context, p string, who owner) (owner, error) {
	if who.set {
		return who, nil
	}
	parent, err := t.node(ctx, path.Dir(p))
	if parent.Mode&fs.ModeSetgid != 0 {
		who.gid = parent.GID
	}
	return who, err
}

func (t *codeTree) make(dir string, mode fs.FileMode, who owner, l *codeLayer) {
	t.added[dir] = Node{Kind: Folder, Mode: mode, UID: who.uid, GID: who.gid}
	l.entries = append(l.entries, registry.Entry{Path: dir[1:], Mode: fs.ModeDir | mode, UID: who.uid, GID: who.gid})
}

// folder makes a folder of the source, below the destination. A builder gives the mode and owner of the source's
// folder to one that is there already: that is the same only for folders that have them.
func (t *codeTree) folder(ctx context.Context, dir string, mode fs.FileMode, who owner, l *codeLayer) error {
	n, err := t.node(ctx, dir)
	_, ours := t.added[dir]
	switch {
	case err != nil:
		return err
	case n.Kind == Folder && n.Mode == mode && n.UID == who.uid && n.GID == who.gid:
		return t.peek(ctx, dir)
	case n.Kind == Folder && !ours:
		return &needsBuilder{why: "the folder " + dir + " of the environment image has a mode or owner of its own"}
	case n.Kind != Absent && n.Kind != Folder:
		return &needsBuilder{why: dir + " is in the environment image and not a folder"}
	}
	t.make(dir, mode, who, l)
	return nil
}

// peek lists a folder of the environment while there is somebody to ask, so that a file that comes into it
// tomorrow needs nobody.
func (t *codeTree) peek(ctx context.Context, dir string) error {
	if _, ours := t.added[dir]; ours || t.more == nil {
		return nil
	}
	return t.more.list(ctx, dir)
}

// file puts a file or link at a path without links, in place of a file or link that is there.
func (t *codeTree) file(ctx context.Context, dst string, e registry.Entry, l *codeLayer) error {
	n, err := t.node(ctx, dst)
	if err != nil {
		return err
	}
	if n.Kind == Folder {
		return &needsBuilder{why: dst + " is in the environment image and not a file"}
	}
	t.added[dst] = Node{Kind: File}
	if e.Mode&fs.ModeSymlink != 0 {
		t.added[dst] = Node{Kind: Link, Link: e.Linkname}
	}
	e.Path = dst[1:]
	l.entries = append(l.entries, e)
	return nil
}
