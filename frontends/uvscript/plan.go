package uvscript

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/ibuild/ibuild/frontends/source"
	"github.com/ibuild/ibuild/frontends/spec/credential"
	"github.com/ibuild/ibuild/llb"
)

const (
	// ContextName is the name of the local source that holds the script.
	ContextName = "context"
	// stdinScript is the name of a script that came without one.
	stdinScript = "script.py"
)

// Load reads the script's header, checks it, and makes the plan of the image that runs the script. The
// error is source.Errors.
func Load(src source.Source) (*llb.Plan, error) {
	b, err := find(src)
	if err != nil {
		return nil, err
	}
	var errs source.Errors
	h, err := readHeader(src, b)
	errs.Collect(err)
	s := script{src: src, name: src.Base()}
	if src.Stdin {
		s.name = stdinScript
	}
	errs.Collect(s.checkName())
	lock, err := s.lock()
	errs.Collect(err)
	if err := errs.Err(); err != nil {
		return nil, err
	}
	return s.plan(b, h, lock)
}

// script is the script as a file.
type script struct {
	src  source.Source
	name string // in the image
}

// checkName refuses names that a file in the image should not have.
func (s script) checkName() error {
	bad := strings.ContainsFunc(s.name, func(r rune) bool { return r < ' ' || r == 0x7f }) || s.name == "." || s.name == ".." || s.name == "/"
	if bad {
		return &source.Error{File: s.src.Name, Msg: fmt.Sprintf("%q is not a name for a script", s.name)}
	}
	return nil
}

// lock reads <script>.lock, nil when there is none.
func (s script) lock() ([]byte, error) {
	if s.src.Stdin {
		return nil, nil
	}
	name := s.src.Name + ".lock"
	fail := func(msg, hint string, err error) error {
		return &source.Error{File: name, Msg: msg, Hint: hint, Err: err}
	}
	f, err := os.Open(filepath.Join(s.src.Dir, s.src.Base()+".lock"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fail("cannot be read: "+cause(err).Error(), "", err)
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && !info.Mode().IsRegular() {
		return nil, fail("the lock is not a file", "write it with: uv lock --script "+s.src.Name, nil)
	}
	data, err := io.ReadAll(io.LimitReader(f, source.LockLimit+1))
	switch {
	case err != nil:
		return nil, fail("cannot be read: "+cause(err).Error(), "", err)
	case len(data) > source.LockLimit:
		return nil, fail(fmt.Sprintf("larger than the limit of %d MiB", source.LockLimit>>20), "", nil)
	case credential.InURL(string(data)):
		return nil, fail("the lock has a URL with a password in it, which would end up in the image's cache and history",
			"give the index a name and its password as a secret, and lock again", nil)
	case data == nil:
		data = []byte{} // an empty lock is a lock, uv says what is wrong with it
	}
	return data, nil
}

func (s script) plan(b block, h header, lock []byte) (*llb.Plan, error) {
	at := llb.Lines{First: b.first, Last: b.last}
	pythonAt := at
	if h.pythonLine > 0 {
		pythonAt = llb.Lines{First: h.pythonLine, Last: h.pythonLine}
	}
	dst := llb.DefaultHome + "/" + s.name
	steps := append(llb.DebianSetup(h.python, pythonAt), llb.UVScript(b.bytes(), lock, at))
	code, locals, err := s.code(dst)
	if err != nil {
		return nil, err
	}
	steps = append(steps, code, llb.Entrypoint{Args: []string{"python", dst}}, llb.User{Name: llb.DefaultUser})
	img := &llb.Image{
		Name:    s.name,
		Base:    llb.Base{Ref: llb.DebianPython(h.python), Lines: pythonAt, Python: true},
		Steps:   steps,
		Sources: []*llb.SourceFile{{Name: s.src.Name, Language: "Python", Data: head(s.src.Data, b.last)}},
		Locals:  locals,
	}
	return &llb.Plan{Kind: "uv script", Name: s.src.Name, Image: img, Locals: locals}, nil
}

// head is the script down to the end of its header: all that steps point at, and no part of its body,
// so that the environment's definition is the same bytes whatever the body is.
func head(data []byte, lines int) []byte {
	end := 0
	for range lines {
		i := bytes.IndexByte(data[end:], '\n')
		if i < 0 {
			end = len(data)
			break
		}
		end += i + 1
	}
	return credential.Mask(data[:end:end])
}

// code is the step that brings the script itself. One from standard input is a part of the definition.
// A link is followed here: the builder would bring the link.
func (s script) code(dst string) (llb.Step, map[string]llb.Local, error) {
	title := "script: " + s.name
	if s.src.Stdin {
		return llb.WriteFile{Title: title, Dst: dst, Data: s.src.Data}, nil, nil
	}
	dir, base := s.src.Dir, s.src.Base()
	if info, err := os.Lstat(filepath.Join(dir, base)); err == nil && info.Mode()&fs.ModeSymlink != 0 {
		target, err := filepath.EvalSymlinks(filepath.Join(dir, base))
		if err != nil {
			return nil, nil, &source.Error{File: s.src.Name, Msg: "the link cannot be followed: " + cause(err).Error(), Err: err}
		}
		dir, base = filepath.Split(target)
		dir = filepath.Clean(dir)
	}
	return llb.Copy{Title: title, Local: ContextName, Src: base, Dst: dst}, map[string]llb.Local{ContextName: {Dir: dir}}, nil
}

func cause(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}
