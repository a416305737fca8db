package objectcache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
	actionscache "github.com/tonistiigi/go-actions-cache"
)

// The keys in GitHub's cache are those of BuildKit: buildkit-blob-1-<digest>, and index-<scope>-1-<branch>, where the
// branch is the beginning of the digest of the ref that the job's token is for.
const layoutVersion = "1"

// actions is the cache of GitHub Actions. Its entries belong to a branch: a job writes those of its own, and reads those
// of the branches that its token names, such as the default one.
type actions struct {
	client *actionscache.Cache
	opt    actionscache.Opt
	scope  string // in the keys, for people who have several caches
	// repository and token of GitHub's own API, which lists what is there in one request; "" asks for each layer.
	repository, apiToken string
	listing              sync.Once
	listed               map[string]struct{} // nil when it was not listed
}

func newActions(attrs map[string]string) (*actions, error) {
	a := &actions{scope: "buildkit", repository: attrs["repository"], apiToken: attrs["ghtoken"], opt: actionscache.Opt{Timeout: 10 * time.Minute, UserAgent: "ibuild"}}
	if v, set := attrs["scope"]; set {
		a.scope = v
	}
	if v, set := attrs["timeout"]; set {
		var err error
		if a.opt.Timeout, err = time.ParseDuration(v); err != nil {
			return nil, fmt.Errorf("timeout: %q is not a duration such as 10m", v)
		}
	}
	address, second := attrs["url"], false
	switch attrs["version"] {
	case "", "2":
		if v := attrs["url_v2"]; v != "" {
			address, second = v, true
		}
		// GitHub's own service, by an address that does not say which version it speaks
		second = second || attrs["version"] == "2" || strings.Contains(address, "results-receiver.actions.githubusercontent.com")
	case "1":
	default:
		return nil, fmt.Errorf("version: %q is neither 1 nor 2", attrs["version"])
	}
	if address == "" {
		return nil, errors.New("url is missing")
	}
	var err error
	if a.client, err = actionscache.New(attrs["token"], address, second, a.opt); err != nil {
		return nil, fmt.Errorf("token: %w", err)
	}
	return a, nil
}

func (a *actions) name() string { return "exporting to GitHub Actions Cache" }

// parallel is one: the service counts requests, and what is over its limit waits for minutes.
func (a *actions) parallel() int { return 1 }

func (a *actions) indexKey(branch string) string {
	return "index-" + a.scope + "-" + layoutVersion + "-" + digest.FromString(branch).Encoded()[:8]
}

func layerKey(layer ocispecs.Descriptor) string {
	return "buildkit-blob-" + layoutVersion + "-" + layer.Digest.String()
}

func (a *actions) index(ctx context.Context) (list []io.ReadCloser, err error) {
	for _, s := range a.client.Scopes() {
		entry, err := a.client.Load(ctx, a.indexKey(s.Scope))
		if err != nil {
			return nil, err
		}
		if entry != nil {
			from := entry.Download(ctx)
			list = append(list, struct {
				io.Reader
				io.Closer
			}{io.NewSectionReader(from, 0, maxIndex+1), from})
		}
	}
	return list, nil
}

// setIndex replaces the index. Entries never change, so the library writes one with a higher number, whose upload may
// fail without a word: what is there afterwards tells.
func (a *actions) setIndex(ctx context.Context, data []byte) error {
	const patience = 15 * time.Second // for another job that is writing the same one
	branch, ok := "", false
	for _, s := range a.client.Scopes() {
		if s.Permission&actionscache.PermissionWrite != 0 {
			branch, ok = s.Scope, true
		}
	}
	if !ok {
		return errors.New("the job's token may not write to the cache: denied")
	}
	before := ""
	err := a.client.SaveMutable(ctx, a.indexKey(branch), patience, func(old *actionscache.Entry) (actionscache.Blob, error) {
		if old != nil {
			before = old.Key
		}
		return actionscache.NewBlob(data), nil
	})
	if err != nil {
		return err
	}
	after, err := a.client.Load(ctx, a.indexKey(branch)+"#")
	if err != nil {
		return err
	}
	if after == nil || after.Key == before {
		return errors.New("the service did not keep the index")
	}
	return nil
}

// list asks GitHub's own API once for all that is there, where that is wanted. Without an answer each layer is asked for.
func (a *actions) list(ctx context.Context) {
	if a.repository == "" || a.apiToken == "" {
		return
	}
	api, err := actionscache.NewRestAPI(a.repository, a.apiToken, a.opt)
	if err != nil {
		return
	}
	if keys, err := a.client.AllKeys(ctx, api, "buildkit-blob-"+layoutVersion+"-"); err == nil {
		a.listed = keys
	}
}

// has says whether a layer is there. Being asked for is what the service keeps it for.
func (a *actions) has(ctx context.Context, layer ocispecs.Descriptor) (bool, error) {
	a.listing.Do(func() { a.list(ctx) })
	if a.listed != nil {
		_, there := a.listed[layerKey(layer)]
		return there, nil
	}
	entry, err := a.client.Load(ctx, layerKey(layer))
	return entry != nil, err
}

func (a *actions) put(ctx context.Context, layer ocispecs.Descriptor, from content.ReaderAt) error {
	err := a.client.Save(ctx, layerKey(layer), from)
	if errors.Is(err, os.ErrExist) { // another job was faster
		return nil
	}
	return err
}

func (a *actions) open(ctx context.Context, layer ocispecs.Descriptor) (content.ReaderAt, error) {
	entry, err := a.client.Load(ctx, layerKey(layer))
	if err != nil {
		return nil, err
	}
	if entry == nil {
		return nil, fmt.Errorf("layer %s: %w", layer.Digest, errdefs.ErrNotFound)
	}
	// The layer is read after this call, and its context is over by then.
	return &sized{ReaderAtCloser: entry.Download(context.WithoutCancel(ctx)), size: layer.Size}, nil
}

// sized is a blob of a known size.
type sized struct {
	actionscache.ReaderAtCloser
	size int64
}

// Size is in bytes.
func (s *sized) Size() int64 { return s.size }
