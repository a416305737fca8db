package engine

import (
	"bytes"
	"context"
	"strconv"
	"strings"

	"github.com/moby/sys/user"
)

// Where BuildKit looks up the names of owners.
const (
	passwdFile = "/etc/passwd"
	groupFile  = "/etc/group"
)

// owner is who gets what a step makes. Without one (set is false) files are root's, and so are folders, but
// that a folder with the setgid bit gives its group to the folders that are made in it.
type owner struct {
	uid, gid int
	set      bool
}

// owner reads what a Copy step says, "user", "user:group", each a number or a name, as BuildKit does: a user
// alone brings the group of /etc/passwd, or, when it is a number, the group of that number; a name that the
// image does not know is root.
func (t *codeTree) owner(ctx context.Context, s string) (owner, error) {
	if s == "" {
		return owner{}, nil
	}
	name, group, both := strings.Cut(s, ":")
	o, err := t.user(ctx, s, name)
	if err == nil && both {
		o.gid, err = t.group(ctx, s, group, o.gid)
	}
	if err != nil {
		return owner{}, err
	}
	return o.checked(s)
}

// user is the first part of an owner, with the group that it brings.
func (t *codeTree) user(ctx context.Context, s, name string) (owner, error) {
	uid, known, err := ownerID(s, name)
	o := owner{uid: uid, gid: uid, set: true}
	if err != nil || known {
		return o, err
	}
	users, err := t.users(ctx, s)
	if err != nil {
		return o, err
	}
	found, err := user.ParsePasswdFilter(bytes.NewReader(users.Passwd), func(u user.User) bool { return u.Name == name })
	if err != nil {
		return o, unreadable(s)
	}
	if len(found) > 0 {
		o.uid, o.gid = found[0].Uid, found[0].Gid
	}
	return o, nil
}

// group is the second part of an owner. As in BuildKit, a name that the image does not know leaves the user's own.
func (t *codeTree) group(ctx context.Context, s, name string, own int) (int, error) {
	gid, known, err := ownerID(s, name)
	if err != nil || known {
		return gid, err
	}
	users, err := t.users(ctx, s)
	if err != nil {
		return own, err
	}
	found, err := user.ParseGroupFilter(bytes.NewReader(users.Group), func(g user.Group) bool { return g.Name == name })
	if err != nil {
		return own, unreadable(s)
	}
	if len(found) > 0 {
		own = found[0].Gid
	}
	return own, nil
}

// ownerID reads a number as BuildKit does; nothing at all is root. known is false for a name.
func ownerID(owner, s string) (id int, known bool, err error) {
	if s == "" || s == "root" {
		return 0, true, nil
	}
	n, err := strconv.ParseInt(s, 10, 32)
	switch {
	case err != nil:
		return 0, false, nil
	case n < 0:
		return 0, false, &needsBuilder{why: "the owner " + owner + " is negative"}
	}
	return int(n), true, nil
}

// checked refuses numbers out of the image's files that a layer cannot have.
func (o owner) checked(s string) (owner, error) {
	if o.uid < 0 || o.gid < 0 || o.uid >= 1<<31 || o.gid >= 1<<31 {
		return owner{}, unreadable(s)
	}
	return o, nil
}

func unreadable(owner string) error {
	return &needsBuilder{why: "the owner " + owner + " is looked up in files of the image that are too large or not as usual"}
}

// users are the image's, as long as no code of this build has changed them.
func (t *codeTree) users(ctx context.Context, owner string) (*Users, error) {
	for _, name := range []string{passwdFile, groupFile} {
		p, err := t.resolve(ctx, name)
		if err != nil {
			return nil, err
		}
		if _, ours := t.added[p]; ours {
			return nil, &needsBuilder{why: "the owner " + owner + " has to be looked up in " + name + ", which the code brings"}
		}
	}
	if t.facts.NoUsers {
		return nil, unreadable(owner)
	}
	if t.facts.Users == nil {
		return nil, &needsBuilder{why: "the owner " + owner + " has to be looked up in the image", unknown: true}
	}
	return t.facts.Users, nil
}
