package spec

import (
	"fmt"
	"path"

	"go.yaml.in/yaml/v3"

	"github.com/ibuild/ibuild/llb"
)

// Workdir sets the working folder of what follows and of the image.
type Workdir struct {
	Path string // relative to the workdir before it
	placed
}

// WithWorkdir sets the working folder of what follows and of the image.
func (img Image) WithWorkdir(path string) Image { return img.With(Workdir{Path: path}) }

func (w Workdir) kind() string          { return "workdir" }
func (w Workdir) clone() Layer          { return w }
func (w Workdir) yaml() *yaml.Node      { return encode(&w) }
func (w *Workdir) fields(table) []field { return nil }
func (w *Workdir) short(t table) field  { return t.raw("path", "", &w.Path) }

func (w Workdir) lower(l *lowering) {
	if !l.checkTarget("workdir", w.Path, w.marks.at("path")) {
		return
	}
	l.steps = append(l.steps, llb.Workdir{Lines: l.lines(l.layer), Path: path.Clean(w.Path)})
	if path.IsAbs(w.Path) || l.workdir != "" {
		l.workdir = l.resolve(w.Path)
	}
}

// User sets the user of the commands that follow and of the image.
type User struct {
	Name string // name or uid, with a group or gid after a colon
	placed
}

// WithUser sets the user of the commands that follow and of the image.
func (img Image) WithUser(name string) Image { return img.With(User{Name: name}) }

func (u User) kind() string          { return "user" }
func (u User) clone() Layer          { return u }
func (u User) yaml() *yaml.Node      { return encode(&u) }
func (u *User) fields(table) []field { return nil }
func (u *User) short(t table) field  { return t.raw("name", "", &u.Name) }

func (u User) lower(l *lowering) {
	l.userGiven = true
	if !userName(u.Name) {
		l.fail(u.marks.at("name"), fmt.Sprintf("%q is not a user", u.Name), "write a name or uid, e.g. app or 1000:1000")
		return
	}
	l.steps = append(l.steps, llb.User{Lines: l.lines(l.layer), Name: u.Name})
}
