package pyindex

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Index is the index; it serves its pages below /simple/ and its files below
// /files/.
type Index struct {
	files map[string][]byte
	links map[string][]link // by package
}

// link is a package's page's link to a file.
type link struct {
	Filename       string            `json:"filename"`
	URL            string            `json:"url"`
	Hashes         map[string]string `json:"hashes"`
	RequiresPython string            `json:"requires-python"`
}

// New makes the index.
func New() (*Index, error) {
	i := &Index{files: map[string][]byte{}, links: map[string][]link{}}
	for _, r := range releases() {
		name, data, err := r.archive()
		if err != nil {
			return nil, err
		}
		sum := sha256.Sum256(data)
		i.files[name] = data
		i.links[r.name] = append(i.links[r.name], link{
			Filename: name, URL: "../../files/" + name,
			Hashes: map[string]string{"sha256": hex.EncodeToString(sum[:])}, RequiresPython: ">=3.8",
		})
	}
	return i, nil
}

// ServeHTTP answers an installer.
func (i *Index) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if name, ok := strings.CutPrefix(r.URL.Path, "/files/"); ok {
		i.serveFile(w, r, name)
		return
	}
	name, ok := strings.CutPrefix(r.URL.Path, "/simple/")
	if !ok {
		http.NotFound(w, r)
		return
	}
	name, slash := strings.CutSuffix(name, "/")
	if name == "" {
		i.serveList(w, r)
	} else if links := i.links[name]; links == nil {
		http.NotFound(w, r)
	} else if !slash {
		http.Redirect(w, r, r.URL.Path+"/", http.StatusMovedPermanently)
	} else {
		i.servePage(w, r, name, links)
	}
}

func (i *Index) serveFile(w http.ResponseWriter, r *http.Request, name string) {
	data, ok := i.files[name]
	if !ok {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(data))
}

// serveList answers which packages there are.
func (i *Index) serveList(w http.ResponseWriter, r *http.Request) {
	type project struct {
		Name string `json:"name"`
	}
	var projects []project
	page := ""
	for name := range i.links {
		projects = append(projects, project{name})
	}
	slices.SortFunc(projects, func(a, b project) int { return strings.Compare(a.Name, b.Name) })
	for _, p := range projects {
		page += fmt.Sprintf("<a href=\"%s/\">%s</a>\n", p.Name, p.Name)
	}
	answer(w, r, page, map[string]any{"projects": projects})
}

// servePage answers which files a package has.
func (i *Index) servePage(w http.ResponseWriter, r *http.Request, name string, links []link) {
	page := ""
	for _, l := range links {
		page += fmt.Sprintf("<a href=\"%s#sha256=%s\" data-requires-python=\"&gt;=3.8\">%s</a>\n", l.URL, l.Hashes["sha256"], l.Filename)
	}
	answer(w, r, page, map[string]any{"name": name, "files": links})
}

// answer writes a page as JSON for clients that know it and as HTML for the
// others.
func answer(w http.ResponseWriter, r *http.Request, page string, document map[string]any) {
	const asJSON = "application/vnd.pypi.simple.v1+json"
	w.Header().Set("Vary", "Accept")
	if !strings.Contains(r.Header.Get("Accept"), asJSON) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		fmt.Fprintf(w, "<!DOCTYPE html>\n<html><body>\n%s</body></html>\n", page)
		return
	}
	document["meta"] = map[string]string{"api-version": "1.0"}
	w.Header().Set("Content-Type", asJSON)
	_ = json.NewEncoder(w).Encode(document) // a client that is gone needs no answer
}
