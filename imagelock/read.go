package imagelock

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/distribution/reference"
	"github.com/ibuild/ibuild/frontends/source"
	"github.com/opencontainers/go-digest"
	"github.com/pelletier/go-toml/v2"
)

// maxLines bounds what is decoded: three lines an image, and the decoder takes its time over more.
const maxLines = 10_000

// Read reads the lock of a folder; one that is not there is empty. The error has all findings at once, as
// source.Errors.
func Read(dir string) (Lock, error) {
	file := filepath.Join(dir, FileName)
	info, err := os.Stat(file)
	if errors.Is(err, fs.ErrNotExist) {
		return Lock{File: file}, nil
	}
	if err == nil && !info.Mode().IsRegular() { // a pipe would be waited for
		return Lock{}, source.Errors{{File: file, Msg: "this is not a regular file"}}
	}
	src, err := source.Read(file, source.SpecLimit)
	if err != nil {
		return Lock{}, err
	}
	return parse(src)
}

// parser collects what is wrong with a lock.
type parser struct {
	src      source.Source
	findings source.Errors
}

func parse(src source.Source) (Lock, error) {
	p := &parser{src: src}
	lock := Lock{File: src.Name, Exists: true, images: map[string]entry{}}
	var doc map[string]any
	if lines := bytes.Count(src.Data, []byte("\n")); lines > maxLines {
		return Lock{}, &source.Error{File: src.Name, Msg: fmt.Sprintf("it has %d lines, more than the %d that a lock may have", lines, maxLines), Hint: "remove it, and make it anew with ibuild lock"}
	}
	if err := toml.Unmarshal(src.Data, &doc); err != nil {
		return Lock{}, p.syntax(err)
	}
	if v, ok := doc["version"].(int64); !ok || v != version {
		p.fail("version", fmt.Sprintf("the version of this lock is not %d", version), "take the ibuild that wrote it, or make it anew: remove the file and run ibuild lock")
		return Lock{}, p.findings.Err()
	}
	for _, key := range slices.Sorted(maps.Keys(doc)) {
		switch key {
		case "version":
		case "images":
			p.images(doc[key], lock.images)
		default:
			p.fail(key, fmt.Sprintf("unknown key %s", key), "the keys are version and images")
		}
	}
	return lock, p.findings.Err()
}

func (p *parser) images(value any, into map[string]entry) {
	table, ok := value.(map[string]any)
	if !ok {
		p.fail("images", "images takes one table per image", "")
		return
	}
	for _, name := range slices.Sorted(maps.Keys(table)) {
		if !canonical(name) {
			p.fail(name, fmt.Sprintf("%q is not the whole name of an image with its tag", name), "write it like docker.io/library/debian:12")
			continue
		}
		fields, ok := table[name].(map[string]any)
		if !ok {
			p.fail(name, name+" takes digest and sources", "")
			continue
		}
		into[name] = p.entry(name, fields)
	}
}

func (p *parser) entry(name string, fields map[string]any) (e entry) {
	for _, key := range slices.Sorted(maps.Keys(fields)) {
		switch key {
		case "digest":
			text, _ := fields[key].(string)
			e.Digest = digest.Digest(text)
		case "sources":
			e.Sources = p.sources(name, fields[key])
		default:
			p.fail(name, fmt.Sprintf("unknown key %s of %s", key, name), "the keys are digest and sources")
		}
	}
	if err := e.Digest.Validate(); err != nil {
		p.fail(name, fmt.Sprintf("%s has no valid digest", name), "write sha256: and 64 hexadecimal digits, or run ibuild lock --update")
	}
	return e
}

func (p *parser) sources(name string, value any) []string {
	list, ok := value.([]any)
	var out []string
	for _, v := range list {
		s, isText := v.(string)
		if ok = ok && isText && s != "" && filepath.Base(s) == s && s != ".."; ok && !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	if !ok {
		p.fail(name, fmt.Sprintf("sources of %s takes a list of names of files in this folder", name), "")
	}
	slices.Sort(out)
	return out
}

// canonical says that a name is what its reference means, with nothing left to defaults, and has no digest.
func canonical(name string) bool {
	named, err := reference.ParseNormalizedNamed(name)
	if err != nil {
		return false
	}
	_, tagged := named.(reference.NamedTagged)
	_, digested := named.(reference.Digested)
	return tagged && !digested && named.String() == name
}

func (p *parser) syntax(err error) error {
	e := &source.Error{File: p.src.Name, Msg: "the lock is not valid TOML", Hint: "was it edited or merged by hand? ibuild lock writes it anew when it is removed", Data: p.src.Data, Err: err}
	var at *toml.DecodeError
	if errors.As(err, &at) {
		e.Line, e.Column = at.Position()
		e.Msg = "the lock is not valid " + at.Error() // which begins with "toml: "
	}
	return source.Errors{e}
}

// fail adds a finding about a key, at the first place where its text is.
func (p *parser) fail(key, msg, hint string) {
	e := &source.Error{File: p.src.Name, Msg: msg, Hint: hint, Data: p.src.Data}
	i := bytes.Index(p.src.Data, []byte(strconv.Quote(key))) + 1 // as a table's name, in which no other is contained
	if i == 0 {
		i = bytes.Index(p.src.Data, []byte(key))
	}
	if i >= 0 {
		e.Line, e.Column = p.src.Position(i)
	}
	p.findings = append(p.findings, e)
}
