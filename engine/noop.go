package engine

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/ibuild/ibuild/registry"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

// Noop is the builder that builds nothing: the result is the base image, by digest. It is for sources whose
// image is made elsewhere; steps on top of the base are told of and left out.
func Noop() Provider {
	return Provider{Name: "noop", Priority: -1, Make: takeBase}
}

// takeBase resolves the base image for every platform that is asked for.
func takeBase(ctx context.Context, e *Engine, req Request) (*Result, error) {
	if err := onlyBase(req); err != nil {
		return nil, err
	}
	b := newBuild(e, req)
	list := req.Options.Platforms
	if len(list) == 0 {
		list = []ocispecs.Platform{hostPlatform()}
	}
	base := req.Plan.Image.Base
	var img registry.Image
	for _, p := range list {
		var err error
		if img, err = b.resolver.resolve(ctx, base.Ref, p); err != nil {
			return nil, fmt.Errorf("base image %s: %w", base.Ref, err)
		}
	}
	desc, err := e.describe(ctx, img)
	if err != nil {
		return nil, err
	}
	if n := len(req.Plan.Image.Steps); n > 0 {
		e.Progress.Known(fmt.Sprintf("the base is taken as it is; steps left out: %d", n))
	}
	res := &Result{Descriptor: desc, How: HowBase, Names: []string{img.Ref}}
	if desc.Digest == img.Manifest.Digest {
		res.ConfigDigest = img.ConfigDigest.String()
	}
	return res, nil
}

// onlyBase refuses what a base image cannot answer.
func onlyBase(req Request) error {
	const other = "leave it to another builder: --builder local"
	img := req.Plan.Image
	switch {
	case img == nil:
		return &BuilderError{Msg: fmt.Sprintf("the builder noop takes the base image as it is, and %s (%s) names none", req.Plan.Name, req.Plan.Kind), Hint: other}
	case img.Base.Ref == "" || img.Base.Ref == "scratch":
		return &BuilderError{Msg: fmt.Sprintf("the builder noop takes the base image as it is, and that of %s is the empty image", req.Plan.Name), Hint: other}
	case req.Outputs.Push || len(req.Outputs.Exports) > 0:
		return &BuilderError{Msg: "the builder noop makes nothing that could be pushed or written", Hint: "leave --push and -o out; the image's reference is what it prints"}
	}
	return nil
}

// describe is the descriptor of what an image's reference points to: the index, where there is one.
func (e *Engine) describe(ctx context.Context, img registry.Image) (ocispecs.Descriptor, error) {
	if img.Digest == img.Manifest.Digest {
		return ocispecs.Descriptor{MediaType: img.Manifest.MediaType, Digest: img.Digest, Size: img.Manifest.Size}, nil
	}
	data, err := e.Registry.FetchManifest(ctx, img.Ref)
	if err != nil {
		return ocispecs.Descriptor{}, err
	}
	var doc struct {
		MediaType string `json:"mediaType"`
	}
	if err := json.Unmarshal(data, &doc); err != nil {
		return ocispecs.Descriptor{}, fmt.Errorf("%s: %w", img.Ref, err)
	}
	if doc.MediaType == "" { // OCI lets an index leave it out
		doc.MediaType = ocispecs.MediaTypeImageIndex
	}
	return ocispecs.Descriptor{MediaType: doc.MediaType, Digest: img.Digest, Size: int64(len(data))}, nil
}
