package registry

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"sync/atomic"

	"github.com/containerd/platforms"
	"github.com/ibuild/ibuild/cache"
	"github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"
)

// Bounds of one image that is copied.
const (
	maxParcelDocuments = 32 << 20 // bytes of all its manifests
	maxParcelDepth     = 4        // indexes in indexes
)

// referenceDigest is BuildKit's annotation on an attestation's entry in an index: the digest of the image that it is about.
const referenceDigest = "vnd.docker.reference.digest"

// Parcel is an image on its way: its documents, and its blobs, which are opened when somebody wants their bytes.
type Parcel struct {
	// Manifests are in the order in which they need each other: the root last.
	Manifests []Content
	// Blobs are configs, layers and what else an index names, each once.
	Blobs []Blob
	// Elsewhere are layers that are no registry's to keep (docker's foreign ones). They stay where they are.
	Elsewhere []ocispecs.Descriptor
	// Left are the entries of the index that were left out.
	Left []ocispecs.Descriptor

	images []packedImage // that can run
}

// packedImage is the image of one platform.
type packedImage struct {
	Content
	manifest *ocispecs.Manifest
}

// Root is the manifest or index that names all the rest.
func (p *Parcel) Root() ocispecs.Descriptor { return p.Manifests[len(p.Manifests)-1].Descriptor }

// Pack reads the documents of an image, and no layers. With platforms it is an index of their images and of the
// attestations about these, as they are; when nothing is left out, the index itself; and when one image is left without
// attestation, that image. Errors: *Error, *PlatformError, those of the source, or the context's.
func Pack(ctx context.Context, src Source, only []ocispecs.Platform) (*Parcel, error) {
	k := &packer{src: src, lim: defaultLimits(), parcel: &Parcel{}, seen: map[digest.Digest]bool{}}
	data, doc, err := k.read(ctx, src.Root())
	if err != nil {
		return nil, k.blame(err)
	}
	root := Content{Descriptor: ocispecs.Descriptor{MediaType: doc.mediaType, Digest: src.Root().Digest, Size: int64(len(data))}, Bytes: data}
	if len(only) > 0 {
		if root, doc, err = k.only(ctx, root, doc, only); err != nil {
			return nil, k.blame(err)
		}
	}
	if err := k.add(ctx, root, doc, false, 0); err != nil {
		return nil, k.blame(err)
	}
	return k.parcel, nil
}

// packer packs one image.
type packer struct {
	src    Source
	lim    limits
	parcel *Parcel
	seen   map[digest.Digest]bool
	size   atomic.Int64 // of all documents, in bytes
}

// blame says which image an error about content is about.
func (k *packer) blame(err error) error {
	var known *Error
	if !errors.As(err, &known) || known.Ref != "" {
		return err
	}
	out := *known
	out.Ref = k.src.Name()
	return &out
}

// read returns a manifest or index.
func (k *packer) read(ctx context.Context, desc ocispecs.Descriptor) ([]byte, document, error) {
	if desc.Size > k.lim.manifest {
		return nil, document{}, badAnswer("a manifest of %d bytes, more than the limit of %d", desc.Size, k.lim.manifest)
	}
	rc, err := k.src.Open(ctx, desc, 0)
	if err != nil {
		return nil, document{}, err
	}
	defer rc.Close()
	data, err := cache.ReadAll(rc, k.lim.manifest)
	if err != nil {
		return nil, document{}, err
	}
	if k.size.Add(int64(len(data))) > maxParcelDocuments {
		return nil, document{}, badAnswer("manifests of more than %d bytes", maxParcelDocuments)
	}
	doc, err := decodeDocument(data, k.lim)
	return data, doc, err
}

// entry returns the document that an entry of an index names.
func (k *packer) entry(ctx context.Context, desc ocispecs.Descriptor) (Content, document, error) {
	data, doc, err := k.read(ctx, desc)
	if err == nil && int64(len(data)) != desc.Size {
		err = badAnswer("the index says that manifest %s has %d bytes, but it has %d", desc.Digest, desc.Size, len(data))
	}
	if err == nil && doc.mediaType != desc.MediaType {
		err = badAnswer("manifest %s is of another type than the index says", desc.Digest)
	}
	return Content{Descriptor: ocispecs.Descriptor{MediaType: desc.MediaType, Digest: desc.Digest, Size: desc.Size}, Bytes: data}, doc, err
}

// add packs a document and all that it names.
func (k *packer) add(ctx context.Context, c Content, doc document, attestation bool, depth int) error {
	if k.seen[c.Digest] {
		return nil
	}
	if depth > maxParcelDepth {
		return badAnswer("indexes in indexes, more than %d deep", maxParcelDepth)
	}
	k.seen[c.Digest] = true
	if doc.image != nil {
		for _, d := range append([]ocispecs.Descriptor{doc.image.Config}, doc.image.Layers...) {
			k.addBlob(ctx, d)
		}
		if !attestation && isConfigType(doc.image.Config.MediaType) {
			k.parcel.images = append(k.parcel.images, packedImage{c, doc.image})
		}
	} else if err := k.addEntries(ctx, doc.index, depth); err != nil {
		return err
	}
	k.parcel.Manifests = append(k.parcel.Manifests, c)
	return nil
}

// addEntries packs what an index names. What is neither an image nor an index (BuildKit's cache has layers there) is
// packed as a blob.
func (k *packer) addEntries(ctx context.Context, entries []ocispecs.Descriptor, depth int) error {
	type part struct {
		Content
		doc document
	}
	parts := make([]part, len(entries))
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(parallelUploads)
	for i, e := range entries {
		if IsIndex(e.MediaType) || IsManifest(e.MediaType) {
			group.Go(func() (err error) {
				parts[i].Content, parts[i].doc, err = k.entry(gctx, e)
				return err
			})
		}
	}
	if err := group.Wait(); err != nil {
		return err
	}
	for i, e := range entries {
		if parts[i].Bytes == nil {
			k.addBlob(ctx, e)
			continue
		}
		if err := k.add(ctx, parts[i].Content, parts[i].doc, isAside(e), depth+1); err != nil {
			return err
		}
	}
	return nil
}

// isAside says that an entry of an index is about images, and none itself.
func isAside(e ocispecs.Descriptor) bool {
	return e.Platform != nil && isAttestation(&e) || e.Annotations["vnd.docker.reference.type"] != ""
}

// IsImage says that an entry of an index is an image to run: not an attestation or another document beside images.
func IsImage(e ocispecs.Descriptor) bool {
	return IsManifest(e.MediaType) && e.Platform != nil && !isAside(e) &&
		(e.ArtifactType == "" || isConfigType(e.ArtifactType)) // some programs write the type of the config there
}

func (k *packer) addBlob(ctx context.Context, d ocispecs.Descriptor) {
	if k.seen[d.Digest] {
		return
	}
	k.seen[d.Digest] = true
	if isForeign(d) {
		k.parcel.Elsewhere = append(k.parcel.Elsewhere, d)
		return
	}
	b := Blob{Descriptor: ocispecs.Descriptor{MediaType: d.MediaType, Digest: d.Digest, Size: d.Size},
		Open: func(offset int64) (io.ReadCloser, error) { return k.src.Open(ctx, d, offset) }}
	if r, ok := k.src.(*repositoryImage); ok {
		b.From = r.repo
	}
	k.parcel.Blobs = append(k.parcel.Blobs, b)
}

// only chooses the images for some platforms.
func (k *packer) only(ctx context.Context, root Content, doc document, want []ocispecs.Platform) (Content, document, error) {
	if doc.image != nil {
		return root, doc, k.checkImage(ctx, doc.image, want)
	}
	chosen := map[digest.Digest]bool{}
	var one ocispecs.Descriptor
	for _, p := range want {
		e, err := choose(k.src.Name(), doc.index, platforms.Normalize(p))
		if err != nil {
			return root, doc, err
		}
		chosen[e.Digest], one = true, e
	}
	keep := make([]bool, len(doc.index))
	var kept []ocispecs.Descriptor
	for i, e := range doc.index {
		about := digest.Digest(e.Annotations[referenceDigest])
		if keep[i] = chosen[e.Digest] || chosen[about] && isAside(e); keep[i] {
			kept = append(kept, e)
		} else {
			k.parcel.Left = append(k.parcel.Left, e)
		}
	}
	switch {
	case len(kept) == len(doc.index):
		return root, doc, nil
	case len(kept) == 1:
		return k.entry(ctx, one)
	}
	return filtered(root, doc, keep, kept)
}

// filtered is an index with some of its entries; all else in it stays as it is.
func filtered(root Content, doc document, keep []bool, kept []ocispecs.Descriptor) (Content, document, error) {
	index, err := decodeObject(root.Bytes)
	if err != nil {
		return root, doc, err
	}
	var entries, left []json.RawMessage
	if err := json.Unmarshal(index["manifests"], &entries); err != nil {
		return root, doc, err
	}
	for i, e := range entries {
		if keep[i] {
			left = append(left, e)
		}
	}
	list, err := encode(left)
	if err != nil {
		return root, doc, err
	}
	index.set("manifests", list)
	data, err := encode(index)
	return newContent(root.MediaType, data), document{mediaType: doc.mediaType, index: kept}, err
}

// checkImage refuses an image that is for none of the platforms, or not for all of them.
func (k *packer) checkImage(ctx context.Context, image *ocispecs.Manifest, want []ocispecs.Platform) error {
	if image.Config.Size > k.lim.config {
		return badAnswer("a config of %d bytes, more than the limit of %d", image.Config.Size, k.lim.config)
	}
	rc, err := k.src.Open(ctx, image.Config, 0)
	if err != nil {
		return err
	}
	defer rc.Close()
	data, err := cache.ReadAll(rc, k.lim.config)
	if err != nil {
		return err
	}
	has, err := decodeConfig(data)
	if err != nil {
		return err
	}
	at := slices.IndexFunc(want, func(p ocispecs.Platform) bool {
		return has.OS == "" || !platforms.Only(platforms.Normalize(p)).Match(has)
	})
	if at >= 0 {
		return &PlatformError{Ref: k.src.Name(), Want: want[at], Have: []ocispecs.Platform{has}}
	}
	return nil
}
