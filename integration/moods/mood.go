package moods

import (
	"net/http"
	"strings"
)

// Mood is one way in which a registry, or what is before it, misbehaves.
type Mood struct {
	Name string
	// Way says whom it meets: pushes, pulls, or both.
	Way Way
	// Lasts says that it happens to all its requests. Else it happens to one.
	Lasts bool
	// Slow says that the client has to wait for seconds.
	Slow bool
	// Parts says that only uploads in several parts meet it.
	Parts bool
	// May are the kinds of error that a client may end with, of package registry. None: it has to succeed.
	May []error

	of  func(*http.Request) bool // which requests it happens to
	act func(*visit)             // takes the place of handing the request on
}

// Way is a direction.
type Way int

// The directions.
const (
	Pushes Way = 1 << iota
	Pulls
)

// The requests of a registry.

func every(*http.Request) bool { return true }

// bytesUp are those that carry the bytes of a blob.
func bytesUp(r *http.Request) bool {
	return (r.Method == http.MethodPatch || r.Method == http.MethodPut) && isUpload(r) && r.ContentLength != 0
}

// ends are those that make a blob of an upload.
func ends(r *http.Request) bool { return r.Method == http.MethodPut && isUpload(r) }

// opens are those that begin an upload.
func opens(r *http.Request) bool { return r.Method == http.MethodPost && isUpload(r) }

func mounts(r *http.Request) bool { return opens(r) && r.URL.Query().Has("mount") }

func isUpload(r *http.Request) bool { return strings.Contains(r.URL.Path, "/blobs/uploads/") }

func isBlob(r *http.Request) bool {
	return strings.Contains(r.URL.Path, "/blobs/sha256:")
}

func isManifest(r *http.Request) bool { return strings.Contains(r.URL.Path, "/manifests/") }

func blobHeads(r *http.Request) bool { return r.Method == http.MethodHead && isBlob(r) }

func blobsDown(r *http.Request) bool { return r.Method == http.MethodGet && isBlob(r) }

func manifestsDown(r *http.Request) bool { return r.Method == http.MethodGet && isManifest(r) }

func manifestsUp(r *http.Request) bool { return r.Method == http.MethodPut && isManifest(r) }

// down are those whose answer has a body that matters.
func down(r *http.Request) bool { return r.Method == http.MethodGet && (isBlob(r) || isManifest(r)) }

// later are parts of a blob that say where they belong, but the first ones.
func later(r *http.Request) bool {
	at := r.Header.Get("Content-Range")
	return r.Method == http.MethodPatch && at != "" && !strings.HasPrefix(at, "0-")
}

// registryOnly are all but those for a token.
func registryOnly(r *http.Request) bool { return r.URL.Path != tokenPath }
