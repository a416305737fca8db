package main

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
)

// index is pypi.org on loopback, remembering what it was asked for. So both sides get their files from memory, and
// the network is out of what is measured. It says of its pages what pypi.org says of them: that they may be kept for
// ten minutes. (Some mirrors say nothing, and an installer that plans twice then fetches each page twice.)
type index struct {
	addr string

	mu    sync.Mutex
	known map[string]answer
}

type answer struct {
	contentType string
	body        []byte
}

const (
	pages = "https://pypi.org"
	files = "https://files.pythonhosted.org"
)

// serveIndex serves until the program ends.
func serveIndex() (*index, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	i := &index{addr: "http://" + l.Addr().String(), known: map[string]answer{}}
	go http.Serve(l, i) //nolint:errcheck // a dead index fails the build that asks it
	return i, nil
}

func (i *index) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a, err := i.get(r.URL.Path, r.Header.Get("Accept"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	maxAge := "max-age=600, public"
	if strings.HasPrefix(r.URL.Path, "/packages/") {
		maxAge = "max-age=365000000, immutable, public"
	}
	w.Header().Set("Cache-Control", maxAge)
	w.Header().Set("Content-Type", a.contentType)
	w.Write(a.body) //nolint:errcheck // the client sees it
}

// get fetches a page or a file once. Pages name their files at this index.
func (i *index) get(path, accept string) (answer, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if a, ok := i.known[path]; ok {
		return a, nil
	}
	from := pages
	if strings.HasPrefix(path, "/packages/") {
		from = files
	}
	req, err := http.NewRequest(http.MethodGet, from+path, nil)
	if err != nil {
		return answer{}, err
	}
	req.Header.Set("Accept", accept)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return answer{}, fmt.Errorf("%s%s: %s", from, path, resp.Status)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return answer{}, err
	}
	a := answer{resp.Header.Get("Content-Type"), bytes.ReplaceAll(body, []byte(files), []byte(i.addr))}
	if from == files {
		a.body = body
	}
	i.known[path] = a
	return a, nil
}
