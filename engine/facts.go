package engine

import (
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"
	"unicode/utf8"
)

const (
	// maxListing is the largest folder whose entries are remembered. Code that goes into a larger one is put
	// there by a builder.
	maxListing = 4096
	// maxUserFile bounds /etc/passwd and /etc/group each, in bytes. Names of larger ones are looked up by a
	// builder.
	maxUserFile = 256 << 10
	// maxPath bounds a path, or the target of a link, in bytes; Linux takes no longer ones.
	maxPath = 4096
)

// Facts are what is known about the file tree of one environment image: the folders that code goes into, with
// all their entries. They are read from the image itself and never guessed: a path below a folder that is not
// listed is unknown.
type Facts struct {
	// Folders maps the absolute path of a folder, without links in it, to its entries by name.
	Folders map[string]map[string]Node `json:"folders"`
	// Large are the folders that have too many entries to be remembered.
	Large []string `json:"large,omitempty"`
	// Users is nil when nobody has looked, or NoUsers is set.
	Users *Users `json:"users,omitempty"`
	// NoUsers says that somebody has looked, and that /etc/passwd or /etc/group is too large, or no file.
	NoUsers bool `json:"noUsers,omitempty"`
}

// Users are the image's /etc/passwd and /etc/group; a file that is not there is empty.
type Users struct {
	Passwd []byte `json:"passwd,omitempty"`
	Group  []byte `json:"group,omitempty"`
}

// Node is one entry of a folder. The zero value is a path where nothing is.
type Node struct {
	Kind Kind
	// Mode is a folder's permissions, with setuid, setgid and sticky.
	Mode     fs.FileMode
	UID, GID int    // a folder's owner
	Link     string // where a link points
}

// Kind is what a path is.
type Kind string

// The kinds that matter for code.
const (
	Absent Kind = ""
	Folder Kind = "folder"
	File   Kind = "file"
	Link   Kind = "link"
	Other  Kind = "other" // a device, a pipe, or something that code is not put on or into
)

// plainFolder is a folder as most are, root's and with mode 0755.
func plainFolder() Node { return Node{Kind: Folder, Mode: 0o755} }

// node says what a path without links is, as far as is known.
func (f *Facts) node(p string) (n Node, known bool) {
	if p == "/" {
		return plainFolder(), true
	}
	if entries, ok := f.Folders[path.Dir(p)]; ok {
		return entries[path.Base(p)], true
	}
	parent, known := f.node(path.Dir(p))
	return Node{}, known && parent.Kind == Absent
}

// MarshalText is the short form that facts are stored in: "f", "o", "l usr/lib", "d", or, for a folder with a
// mode or owner of its own, "d 1777 0 0".
func (n Node) MarshalText() ([]byte, error) {
	switch {
	case n == plainFolder():
		return []byte("d"), nil
	case n.Kind == Folder:
		return fmt.Appendf(nil, "d %o %d %d", unixMode(n.Mode), n.UID, n.GID), nil
	case n.Kind == Link:
		return []byte("l " + n.Link), nil
	case n.Kind == File:
		return []byte("f"), nil
	case n.Kind == Other:
		return []byte("o"), nil
	}
	return nil, fmt.Errorf("no entry of a folder: %q", n.Kind)
}

// UnmarshalText takes nothing but what MarshalText writes: it is read from the network.
func (n *Node) UnmarshalText(text []byte) error {
	kind, rest, more := strings.Cut(string(text), " ")
	*n = Node{}
	switch {
	case kind == "f" && !more:
		n.Kind = File
	case kind == "o" && !more:
		n.Kind = Other
	case kind == "d" && !more:
		*n = plainFolder()
	case kind == "l" && validLink(rest):
		n.Kind, n.Link = Link, rest
	case kind == "d":
		return n.parseFolder(rest)
	default:
		return fmt.Errorf("not an entry of a folder: %.40q", text)
	}
	return nil
}

func (n *Node) parseFolder(text string) error {
	fields := strings.Split(text, " ")
	if len(fields) != 3 {
		return fmt.Errorf("not a folder's mode and owner: %.40q", text)
	}
	mode, err := strconv.ParseUint(fields[0], 8, 12)
	uid, errU := strconv.ParseUint(fields[1], 10, 31)
	gid, errG := strconv.ParseUint(fields[2], 10, 31)
	if err != nil || errU != nil || errG != nil {
		return fmt.Errorf("not a folder's mode and owner: %.40q", text)
	}
	*n = Node{Kind: Folder, Mode: goMode(uint32(mode)), UID: int(uid), GID: int(gid)}
	return nil
}

func validLink(target string) bool {
	return target != "" && len(target) <= maxPath && utf8.ValidString(target) && !strings.ContainsRune(target, 0)
}

// specialBits are the bits beside the permissions, in Go's and in Unix's numbers.
func specialBits() map[fs.FileMode]uint32 {
	return map[fs.FileMode]uint32{fs.ModeSetuid: 0o4000, fs.ModeSetgid: 0o2000, fs.ModeSticky: 0o1000}
}

func unixMode(m fs.FileMode) uint32 {
	out := uint32(m.Perm())
	for bit, value := range specialBits() {
		if m&bit != 0 {
			out |= value
		}
	}
	return out
}

func goMode(m uint32) fs.FileMode {
	out := fs.FileMode(m & 0o777)
	for bit, value := range specialBits() {
		if m&value != 0 {
			out |= bit
		}
	}
	return out
}
