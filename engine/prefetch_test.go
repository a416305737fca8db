package engine

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ibuild/ibuild/llb"
)

// The base and the images that steps mount are resolved side by side, each once.
func TestImagesAreResolvedSideBySide(t *testing.T) {
	f := newFixture(t)
	f.base()
	f.server.push(t, f.host+"/tool:1", baseImage(t, amd64, nil))
	req := f.app("app:1")
	img := *req.Plan.Image
	img.Steps = append([]llb.Step{llb.Exec{Title: "use the tool", Args: []string{"/tool/x"},
		Mounts: []llb.Mount{{Kind: llb.ImageMount, Target: "/tool", Ref: f.host + "/tool:1"}}}}, img.Steps...)
	req.Plan.Image = &img
	if got, want := imagesOf(&img), []string{f.host + "/base:1", f.host + "/tool:1"}; !slices.Equal(got, want) {
		t.Fatalf("the images are %v, want %v", got, want)
	}
	tool := make(chan struct{})
	f.on(func(r *http.Request) {
		switch r.URL.Path {
		case "/v2/tool/manifests/1":
			close(tool)
		case "/v2/base/manifests/1":
			select {
			case <-tool:
			case <-time.After(20 * time.Second):
				t.Error("the tool is asked for after the base")
			}
		}
	})
	b := f.start(req)
	_, err := b.record(t.Context(), b.buildFunc())
	check(t, err)
	f.on(nil)
	_, err = b.record(t.Context(), b.buildFunc())
	check(t, err)
	for _, r := range f.requests() {
		if strings.Contains(r, "/tool/") || strings.Contains(r, "/base/") {
			t.Errorf("asked again: %s", r)
		}
	}
}
