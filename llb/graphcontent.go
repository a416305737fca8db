package llb

import (
	"crypto/sha256"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
)

// contents are digests of what decides each step of an image, in the way in which a builder finds results again: a
// step that copies some files of a folder depends on these files, and not on what else is in the folder.
func contents(img *OutlineImage) []digest.Digest {
	out := make([]digest.Digest, len(img.Steps))
	for i := range img.Steps {
		s := &img.Steps[i]
		h := sha256.New()
		fmt.Fprintf(h, "%q\n", s.Own)
		for n, in := range s.Inputs {
			if list, ok := copied(s, n, &img.Steps[in]); ok {
				for _, f := range list {
					fmt.Fprintf(h, "%q", []string{f.Path, f.Mode, f.Sum, f.Attrs})
				}
			} else {
				fmt.Fprintf(h, "%q", out[in])
			}
			fmt.Fprintln(h)
		}
		out[i] = digest.NewDigest(digest.SHA256, h)
	}
	return out
}

// copied lists the files that a step takes of its nth input, where that is a folder of the caller's and they can be
// told; more than it takes, if in doubt.
func copied(s *OutlineStep, n int, in *OutlineStep) (list []OutlineFile, ok bool) {
	at := slices.IndexFunc(s.Copies, func(c OutlineCopy) bool { return c.Input == n })
	if at < 0 || in.Kind != StepLocal || in.Unlisted > 0 {
		return nil, false
	}
	paths := s.Copies[at].Paths
	for _, f := range in.Files {
		taken := slices.ContainsFunc(paths, func(p string) bool { return below(f.Path, p) })
		if f.Link != "" && (taken || slices.ContainsFunc(paths, func(p string) bool { return below(p, f.Path) })) {
			return nil, false // it may lead to other files
		}
		if taken {
			list = append(list, f)
		}
	}
	return list, true
}

// below says whether a file is at a path, or below it. A pattern stands for the folder before it.
func below(file, p string) bool {
	p = path.Clean("/" + p)
	if i := strings.IndexAny(p, "*?[\\"); i >= 0 {
		p = path.Dir(p[:i] + "x")
	}
	file = path.Clean("/" + file)
	return p == "/" || file == p || strings.HasPrefix(file, p+"/")
}
