package launch

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/distribution/reference"
	"github.com/ibuild/ibuild/engine"
	"github.com/ibuild/ibuild/frontends/source"
	"github.com/ibuild/ibuild/llb"
	"github.com/ibuild/ibuild/registry"
	"github.com/ibuild/ibuild/registry/codec"
	"github.com/ibuild/ibuild/runner/bootstrap"
	"github.com/ibuild/ibuild/runner/bootstrap/contract"
	"github.com/ibuild/ibuild/runner/gke"
	"github.com/opencontainers/go-digest"
)

// runTag begins the tags of images that jobs run. The rest is made of all that is in the image.
const runTag = "ibuild-run-"

// topVersion changes when the same parts make another image.
const topVersion = "1"

// top is what comes onto a base: layers, each a list of entries.
type top struct {
	*Plan
	means Means
	base  registry.Image
	codec codec.Codec
	parts []part
}

// part is one layer.
type part struct {
	title   string
	entries []registry.Entry
}

// finish puts bootstrap, code and what is to be installed onto the base, and returns the image by digest.
func (p *Plan) finish(ctx context.Context, m Means, base registry.Image) (string, error) {
	t := &top{Plan: p, means: m, base: base}
	if err := t.chooseCodec(); err != nil {
		return "", err
	}
	if err := t.addBootstrap(); err != nil {
		return "", err
	}
	closed, err := t.addCode(ctx)
	defer closed()
	if err != nil {
		return "", err
	}
	if len(t.parts) == 0 {
		return base.Ref, nil
	}
	return t.make(ctx)
}

// chooseCodec takes the way to compress that the caller wants, else the one that the registry needs, else zstd.
func (t *top) chooseCodec() (err error) {
	way := t.means.Request.Outputs.Compression
	if way.Name == "" {
		way.Name = codec.Zstd
		if t.repository != nil && t.means.Engine.Registry.Profile(reference.Domain(t.repository)).Compression == codec.Gzip {
			way.Name, way.Level = codec.Gzip, 0
		}
	}
	t.codec, err = codec.New(way.Name, way.Level)
	return err
}

// addBootstrap adds the layer with the bootstrap, and with a folder for results that every user may write where no
// volume is mounted.
func (t *top) addBootstrap() error {
	if !t.bootstrap {
		return nil
	}
	arch := t.Platform.Architecture
	id, err := bootstrap.Digest(arch)
	if err != nil {
		return &source.Error{Msg: err.Error(), Hint: "or leave it out: without it there are no results, and nothing is installed at the start", Err: err}
	}
	file := ""
	open := func() (io.ReadCloser, error) { return os.Open(file) }
	if file, err = bootstrap.File(t.means.CacheFolder, arch); err != nil {
		return err
	}
	info, err := os.Stat(file)
	if err != nil {
		return err
	}
	t.parts = append(t.parts, part{title: "ibuild: bootstrap", entries: []registry.Entry{
		folderEntry(Folder, 0o755),
		folderEntry(gke.OutputFolder, 0o777),
		{Path: strings.TrimPrefix(contract.Bootstrap, "/"), Mode: 0o755, Size: info.Size(), Digest: id, Open: open},
	}})
	return nil
}

// addCode adds the layer with the code and what is installed from. The folder of both is in it as in the layer of the
// bootstrap, so it does not matter whether that is there.
func (t *top) addCode(ctx context.Context) (closed func(), err error) {
	closed = func() {}
	if t.code == nil && len(t.install) == 0 {
		return closed, nil
	}
	entries := []registry.Entry{folderEntry(Folder, 0o755)}
	if t.code != nil {
		var files []registry.Entry
		if files, closed, err = t.code.files(ctx); err != nil {
			return closed, err
		}
		entries = append(entries, files...)
	}
	for name, data := range t.install {
		entries = append(entries, dataEntry(path.Join(Folder, name), data, 0o644))
	}
	t.parts = append(t.parts, part{title: "ibuild: code", entries: entries})
	return closed, nil
}

// identity is a digest of all that decides the image.
func (t *top) identity() (digest.Digest, error) {
	type fact struct {
		Path, Link string
		Mode       uint32
		Digest     digest.Digest
	}
	all := struct {
		Version string
		Base    digest.Digest
		Codec   string
		Driver  bool
		Time    time.Time
		Parts   [][]fact
	}{Version: topVersion, Base: t.base.Manifest.Digest, Codec: t.codec.Key(), Driver: t.kind == gke.GPU, Time: llb.CodeTime(t.means.Request.Options.Epoch)}
	for _, p := range t.parts {
		var list []fact
		for _, e := range p.entries {
			list = append(list, fact{e.Path, e.Linkname, uint32(e.Mode), e.Digest})
		}
		slices.SortFunc(list, func(a, b fact) int { return strings.Compare(a.Path, b.Path) })
		all.Parts = append(all.Parts, list)
	}
	data, err := json.Marshal(all)
	return digest.FromBytes(data), err
}

// make makes the image and pushes it, unless the registry has one of the same parts.
func (t *top) make(ctx context.Context) (string, error) {
	id, err := t.identity()
	if err != nil {
		return "", err
	}
	repo := reference.TrimNamed(t.repository)
	tagged, err := reference.WithTag(repo, runTag+id.Encoded()[:32])
	if err != nil {
		return "", err
	}
	client := t.means.Engine.Registry
	if known := t.means.Engine.Exists(ctx, tagged.String(), nil); known.Exists == engine.Yes && !t.means.Request.Force {
		t.means.Engine.Progress.Known(tagged.String() + " is there already: nothing to push")
		return byDigest(repo, known.Descriptor.Digest)
	}
	layers, err := t.layers(ctx)
	if err != nil {
		return "", err
	}
	made, err := registry.Assemble(t.base.Parts(), layers, t.assembly())
	if err != nil {
		return "", err
	}
	blobs, err := t.base.Layers(baseRepository(t.base))
	if err != nil {
		return "", err
	}
	for _, l := range layers {
		blobs = append(blobs, registry.Blob{Descriptor: l.Descriptor, New: l.New})
	}
	config := made.Config.Blob()
	config.New = true
	up := registry.Upload{Repository: repo.Name(), Blobs: append(blobs, config), Manifests: []registry.Content{made.Manifest}, Tags: []string{tagged.String()}}
	_, err = t.means.Engine.Progress.Transfer("push "+repo.Name(), func(n *registry.Traffic) error {
		up.Traffic = n
		return client.Push(ctx, up)
	})
	if err != nil {
		return "", err
	}
	return byDigest(repo, made.Manifest.Digest)
}

// layers makes the layers in the store.
func (t *top) layers(ctx context.Context) ([]registry.Layer, error) {
	store, err := t.means.Engine.Cache.Content()
	if err != nil {
		return nil, err
	}
	var out []registry.Layer
	for _, p := range t.parts {
		l, err := registry.BuildLayer(ctx, store, p.entries, registry.LayerOptions{ModTime: llb.CodeTime(t.means.Request.Options.Epoch), CreatedBy: p.title, Codec: t.codec})
		if err != nil {
			return nil, err
		}
		out = append(out, l)
	}
	return out, nil
}

// driverFolder is where GKE puts the libraries and programs of NVIDIA's driver into containers that ask for a GPU. It
// sets no variables for them (https://cloud.google.com/kubernetes-engine/docs/how-to/gpus, "CUDA libraries").
const driverFolder = "/usr/local/nvidia"

// assembly says what changes in the base's config: times, where SOURCE_DATE_EPOCH gives one, and the driver's folders.
func (t *top) assembly() registry.AssembleOptions {
	epoch := t.means.Request.Options.Epoch
	o := registry.AssembleOptions{Edit: func(c *registry.Config) error {
		config := llb.EditConfig(c)
		if epoch != nil {
			config.SetCreated(epoch)
		}
		if t.kind == gke.GPU {
			findDriver(config)
		}
		return nil
	}}
	if epoch != nil {
		o.Created = *epoch
	}
	return o
}

// findDriver lets programs on a GPU find its driver.
func findDriver(config *llb.Config) {
	lists := []struct{ key, usual, folder string }{
		{"LD_LIBRARY_PATH", "", driverFolder + "/lib64"},
		{"PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", driverFolder + "/bin"}, // runtimes set this one where an image has none
	}
	for _, l := range lists {
		old, ok := config.Env(l.key)
		if !ok {
			old = l.usual
		}
		if !slices.Contains(strings.Split(old, ":"), l.folder) {
			config.Apply(llb.Env{Key: l.key, Value: strings.TrimPrefix(old+":"+l.folder, ":")}, nil)
		}
	}
}

// baseRepository is where the base can be read from.
func baseRepository(img registry.Image) string {
	name, _, _ := strings.Cut(img.Ref, "@")
	return name
}

func byDigest(repo reference.Named, d digest.Digest) (string, error) {
	named, err := reference.WithDigest(repo, d)
	if err != nil {
		return "", err
	}
	return named.String(), nil
}

// ownProgram is what an image runs by itself: its entry point with the arguments, or with its command where there are
// none.
func ownProgram(img registry.Image, args []string) ([]string, error) {
	var config struct {
		Config struct{ Entrypoint, Cmd []string } `json:"config"`
	}
	if err := json.NewDecoder(bytes.NewReader(img.Config)).Decode(&config); err != nil {
		return nil, fmt.Errorf("%s: its config cannot be read: %w", img.Ref, err)
	}
	if len(args) == 0 {
		args = config.Config.Cmd
	}
	program := slices.Concat(config.Config.Entrypoint, args)
	if len(program) == 0 || program[0] == "" {
		return nil, &source.Error{Msg: img.Ref + " has neither an entry point nor a command", Hint: "say after -- what to run in it"}
	}
	return program, nil
}
