package engine

import (
	"archive/tar"
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/ibuild/ibuild/llb"
	"github.com/ibuild/ibuild/registry"
	gateway "github.com/moby/buildkit/frontend/gateway/client"
	"github.com/opencontainers/go-digest"
	fstypes "github.com/tonistiigi/fsutil/types"
)

// plan is a plan of one image on the fixture's base, whose environment is one command.
func (f *fixture) plan(dir string, code ...llb.Step) *llb.Plan {
	img := &llb.Image{
		Name: "test", Base: llb.Base{Ref: f.host + "/base:1"},
		Steps:  append([]llb.Step{llb.Env{Key: "MODE", Value: "env"}, llb.Exec{Title: "install", Args: []string{"install"}}}, code...),
		Locals: map[string]llb.Local{"context": {Dir: dir}},
	}
	return &llb.Plan{Kind: "test", Name: "test", Image: img, Locals: img.Locals}
}

// environment is what the builder would be asked for, or what is found of it.
func (f *fixture) environment(req Request) *environment {
	f.t.Helper()
	b := f.start(req)
	env, code := req.Plan.Image.Split()
	rec, err := b.record(f.t.Context(), env.BuildFunc(req.Options))
	check(f.t, err)
	graph, err := rec.Graph(f.t.Context())
	check(f.t, err)
	e := newEnvironment(rec, env, code, graph, req.Outputs.form(b.codec))
	b.findEnvironment(f.t.Context(), e)
	return e
}

// recorded is the config that llb makes for the whole image.
func (f *fixture) recorded(req Request, i int) v1.Config {
	f.t.Helper()
	b := f.start(req)
	rec, err := b.record(f.t.Context(), b.buildFunc())
	check(f.t, err)
	g, err := rec.Graph(f.t.Context())
	check(f.t, err)
	rec, err = rec.WithImageID(g.Identity())
	check(f.t, err)
	var c v1.ConfigFile
	check(f.t, json.Unmarshal(rec.Images[i].Config, &c))
	return c.Config
}

// made is an image as the builder would have made it for one platform of a recording.
func made(t *testing.T, img llb.RecordedImage) v1.Image {
	t.Helper()
	var cf v1.ConfigFile
	check(t, json.Unmarshal(img.Config, &cf))
	layer, err := random.Layer(64, types.OCILayer)
	check(t, err)
	cf.RootFS, cf.History = v1.RootFS{Type: "layers"}, nil
	out, err := mutate.ConfigFile(mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON), &cf)
	check(t, err)
	out, err = mutate.Append(out, mutate.Addendum{Layer: layer, History: v1.History{CreatedBy: "install"}})
	check(t, err)
	return out
}

// environmentImage is what the builder would have pushed for the environment.
func environmentImage(t *testing.T, e *environment) remote.Taggable {
	t.Helper()
	if len(e.rec.Images) == 1 {
		return made(t, e.rec.Images[0])
	}
	idx := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, i := range e.rec.Images {
		p := v1.Platform{OS: i.Platform.OS, Architecture: i.Platform.Architecture, Variant: i.Platform.Variant}
		idx = mutate.AppendManifests(idx, mutate.IndexAddendum{Add: made(t, i), Descriptor: v1.Descriptor{Platform: &p}})
	}
	return idx
}

// know has the registry know the environment: the image is in each repository, and the facts with it. A file
// "etc/passwd" of the tree is given as its path; see listing.
func (f *fixture) know(req Request, tree ...string) *environment {
	f.t.Helper()
	e := f.environment(req)
	img := environmentImage(f.t, e)
	for _, repo := range req.Outputs.environmentRepos() {
		f.server.push(f.t, repo+":built", img)
	}
	d := digest.Digest(f.digest(f.t, req.Outputs.environmentRepos()[0]+":built"))
	f.made(e, req.Outputs.environmentRepos(), d)
	f.facts(e, tree...)
	return e
}

// made is the state after a builder has brought an image to the repositories.
func (f *fixture) made(e *environment, repos []string, d digest.Digest) {
	f.t.Helper()
	var list []registry.Image
	for _, i := range e.rec.Images {
		img, err := f.engine.Registry.Resolve(f.t.Context(), byDigest(repos[0], d), i.Platform)
		check(f.t, err)
		list = append(list, img)
	}
	e.set(list, repos)
}

// facts makes a tree all that is known of an environment, in its repositories.
func (f *fixture) facts(e *environment, tree ...string) {
	f.t.Helper()
	for _, i := range e.rec.Images {
		known := listing(tree...)
		e.facts[i.ID] = &known
	}
	kept, err := e.document()
	check(f.t, err)
	b := &build{Engine: f.engine}
	for _, repo := range e.repos {
		if at, err := f.engine.Registry.Head(f.t.Context(), repo+":"+e.tag()); err == nil {
			e.seen[repo] = at.Digest // nothing of it is kept
		}
		check(f.t, b.pushEnvironment(f.t.Context(), e, repo, kept))
	}
}

// listing makes facts: "a/" is a listed folder, "a" a file, "a@b" a link to b, "a/?" a folder that is not
// listed, "a/!1777 0 0" a listed folder with mode and owner.
func listing(paths ...string) Facts {
	out := Facts{Folders: map[string]map[string]Node{"/": {}}}
	list := func(p string) {
		if out.Folders[p] == nil {
			out.Folders[p] = map[string]Node{}
		}
	}
	set := func(p string, n Node) {
		list(path.Dir(p))
		out.Folders[path.Dir(p)][path.Base(p)] = n
	}
	for _, p := range paths {
		p = "/" + p
		name, link, isLink := strings.Cut(p, "@")
		dir, mode, isOwn := strings.Cut(p, "/!")
		switch {
		case isLink:
			set(name, Node{Kind: Link, Link: link})
		case isOwn:
			n := Node{}
			if err := n.UnmarshalText([]byte("d " + mode)); err != nil {
				panic(err)
			}
			set(dir, n)
			list(dir)
		case strings.HasSuffix(p, "/?"):
			set(path.Dir(p), plainFolder())
		case strings.HasSuffix(p, "/"):
			set(path.Clean(p), plainFolder())
			list(path.Clean(p))
		default:
			set(p, Node{Kind: File})
		}
	}
	return out
}

// node is a path of a file tree, with all that a layer says about it but its time.
type node struct {
	Mode     fs.FileMode
	UID, GID int
	Data     string // content, or where a link points
}

// added lists what the layers on top of the first n put into an image, by path.
func added(t *testing.T, img v1.Image, n int) map[string]node {
	t.Helper()
	layers, err := img.Layers()
	check(t, err)
	out := map[string]node{}
	for _, l := range layers[n:] {
		rc, err := l.Uncompressed()
		check(t, err)
		for tr := tar.NewReader(rc); ; {
			h, err := tr.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			check(t, err)
			data, err := io.ReadAll(tr)
			check(t, err)
			if !h.ModTime.Equal(time.Date(1980, 1, 2, 0, 0, 0, 0, time.UTC)) {
				t.Errorf("%s has the time %s", h.Name, h.ModTime)
			}
			out[strings.TrimSuffix(h.Name, "/")] = node{Mode: h.FileInfo().Mode(), UID: h.Uid, GID: h.Gid, Data: string(data) + h.Linkname}
		}
		rc.Close()
	}
	return out
}

// diskRef is a builder's reference whose tree is a folder.
type diskRef struct {
	gateway.Reference
	dir   string
	asked []string
	fail  error
}

func (r *diskRef) ReadDir(_ context.Context, req gateway.ReadDirRequest) ([]*fstypes.Stat, error) {
	r.asked = append(r.asked, req.Path)
	if r.fail != nil {
		return nil, r.fail
	}
	list, err := os.ReadDir(filepath.Join(r.dir, filepath.FromSlash(req.Path)))
	if err != nil {
		return nil, err
	}
	var out []*fstypes.Stat
	for _, e := range list {
		info, err := e.Info()
		if err != nil {
			return nil, err
		}
		st := &fstypes.Stat{Path: e.Name(), Mode: uint32(info.Mode())}
		sys := info.Sys().(*syscall.Stat_t)
		st.Uid, st.Gid = sys.Uid, sys.Gid
		if os.Getuid() != 0 { // what a test makes stands for what root made
			st.Uid, st.Gid = 0, 0
		}
		if info.Mode()&fs.ModeSymlink != 0 {
			if st.Linkname, err = os.Readlink(filepath.Join(r.dir, filepath.FromSlash(req.Path), e.Name())); err != nil {
				return nil, err
			}
		}
		out = append(out, st)
	}
	return out, nil
}

func (r *diskRef) ReadFile(_ context.Context, req gateway.ReadRequest) ([]byte, error) {
	r.asked = append(r.asked, req.Filename)
	data, err := os.ReadFile(filepath.Join(r.dir, filepath.FromSlash(req.Filename)))
	if err == nil && len(data) > req.Range.Length {
		data = data[:req.Range.Length]
	}
	return data, err
}
