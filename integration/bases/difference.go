package bases

import (
	"archive/tar"
	"crypto/sha256"
	"io"
	"path"
	"slices"
	"strings"
)

// state is what decides whether a file is the same in two archives. Times are
// left out: mmdebstrap sets those anew.
type state struct {
	kind     byte
	mode     int64
	uid, gid int
	link     string
	content  [sha256.Size]byte
}

// readTree returns the state of every file in an archive.
func readTree(archive io.Reader) (map[string]state, error) {
	tree := map[string]state{}
	err := walk(archive, func(h *tar.Header, body io.Reader) error {
		s, err := stateOf(h, body)
		tree[h.Name] = s
		return err
	})
	return tree, err
}

func stateOf(h *tar.Header, body io.Reader) (state, error) {
	s := state{kind: h.Typeflag, mode: h.Mode, uid: h.Uid, gid: h.Gid, link: h.Linkname}
	sum := sha256.New()
	_, err := io.Copy(sum, body)
	sum.Sum(s.content[:0])
	return s, err
}

// difference is the layer that makes the archive upper out of the archive
// lower. open is called twice to read upper.
func difference(lower io.Reader, open func() (io.ReadCloser, error)) contents {
	return func(write func(*tar.Header, io.Reader) error) error {
		before, err := readTree(lower)
		if err != nil {
			return err
		}
		after, err := withArchive(open, readTree)
		if err != nil {
			return err
		}
		for _, name := range removed(before, after) {
			if err := write(whiteout(name), strings.NewReader("")); err != nil {
				return err
			}
		}
		_, err = withArchive(open, func(upper io.Reader) (any, error) {
			return nil, walk(upper, func(h *tar.Header, body io.Reader) error {
				if old, ok := before[h.Name]; ok && old == after[h.Name] {
					return nil
				}
				return write(h, body)
			})
		})
		return err
	}
}

func withArchive[T any](open func() (io.ReadCloser, error), use func(io.Reader) (T, error)) (T, error) {
	archive, err := open()
	if err != nil {
		var none T
		return none, err
	}
	defer archive.Close()
	return use(archive)
}

// removed lists what is gone; of a folder that is gone only the folder.
func removed(before, after map[string]state) []string {
	var gone []string
	for name := range before {
		if _, ok := after[name]; ok {
			continue
		}
		parent := path.Dir(strings.TrimSuffix(name, "/")) + "/"
		if _, ok := after[parent]; ok || parent == "./" {
			gone = append(gone, name)
		}
	}
	slices.Sort(gone)
	return gone
}

func whiteout(name string) *tar.Header {
	dir, file := path.Split(strings.TrimSuffix(name, "/"))
	return &tar.Header{Typeflag: tar.TypeReg, Name: dir + ".wh." + file, Mode: 0o644, ModTime: epoch()}
}
