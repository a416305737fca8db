package settings

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/moby/buildkit/util/suggest"
)

// Push is how pushes to one host go, in place of what ibuild knows of it. What is not set stays as it is.
type Push struct {
	Parallel    *int   `toml:"parallel"` // small blobs at a time; of large ones, a quarter of that
	Chunk       string `toml:"chunk"`    // size of a request, see ParseSize; "0" is a whole blob
	Resume      *bool  `toml:"resume"`
	Mount       *bool  `toml:"mount"`
	Compression string `toml:"compression"` // "zstd" or "gzip"
	Stall       string `toml:"stall"`       // see time.ParseDuration
	Answer      string `toml:"answer"`      // as Stall
}

// Build is what a build does when nothing else says so.
type Build struct {
	Compression      string `toml:"compression"` // "", "zstd", "gzip" or "uncompressed"
	CompressionLevel int    `toml:"compression_level"`
}

// Bounds of how pushes go.
const (
	maxParallel = 64
	// minChunk is the smallest request in bytes: S3 takes no smaller parts than 5 MiB, and small ones cost a round trip
	// each.
	minChunk = 5e6
	maxChunk = 5e9
	maxWait  = time.Hour
)

// pushes checks [push."host"].
func (c *checker) pushes(all map[string]Push) {
	for _, host := range slices.Sorted(maps.Keys(all)) {
		p := all[host]
		key := func(name ...string) []string { return append([]string{"push", host}, name...) }
		c.registryHost("push", host)
		if n := p.Parallel; n != nil && (*n < 1 || *n > maxParallel) {
			c.bad(key("parallel"), fmt.Sprintf("write 1 to %d", maxParallel), fmt.Sprintf("%d is not a number of blobs at a time", *n), nil)
		}
		c.chunk(key("chunk"), p.Chunk)
		c.oneOf(key("compression"), p.Compression, "zstd", "gzip")
		c.wait(key("stall"), p.Stall)
		c.wait(key("answer"), p.Answer)
	}
}

// registryHost checks the host of a section [what."host"].
func (c *checker) registryHost(what, host string) {
	key := []string{what, host}
	switch why := hostProblem(host); {
	case host == "index.docker.io" || host == "registry-1.docker.io":
		c.bad(key, fmt.Sprintf("write [%s.\"docker.io\"]", what), "Docker Hub's settings go by the name that references have", nil)
	case why != "":
		c.bad(key, fmt.Sprintf("write the host alone, such as [%s.\"docker.io\"] or [%s.\"localhost:5000\"]", what, what), why, nil)
	}
}

func (c *checker) chunk(key []string, text string) {
	if text == "" {
		return
	}
	const hint = "write 5MB to 5GB, or 0 to send each blob in one request"
	switch n, err := ParseSize(text); {
	case err != nil:
		c.bad(key, hint, err.Error(), nil)
	case n != 0 && (n < minChunk || n > maxChunk):
		c.bad(key, hint, fmt.Sprintf("%q is not a size that registries take", text), nil)
	}
}

// oneOf checks a word.
func (c *checker) oneOf(key []string, word string, words ...string) {
	if word == "" || slices.Contains(words, word) {
		return
	}
	hint := "there are " + strings.Join(words, ", ")
	if match, ok := suggest.Search(word, words, false); ok {
		hint = "did you mean " + match + "?"
	}
	c.bad(key, hint, fmt.Sprintf("there is no %s %q", key[len(key)-1], word), nil)
}

func (c *checker) wait(key []string, text string) {
	if text == "" {
		return
	}
	if d, err := time.ParseDuration(text); err != nil || d < time.Second || d > maxWait {
		c.bad(key, "write 1s to 1h, such as 90s or 5m", fmt.Sprintf("%q is not a time to wait", text), nil)
	}
}

// build checks [build].
func (c *checker) build(b Build) {
	key := func(name string) []string { return []string{"build", name} }
	c.oneOf(key("compression"), b.Compression, "zstd", "gzip", "uncompressed")
	most, ok := map[string]int{"zstd": 22, "gzip": 9}[b.Compression]
	switch n := b.CompressionLevel; {
	case n == 0 || n > 0 && n <= most:
	case b.Compression == "":
		c.bad(key("compression_level"), "add compression: levels mean something else for each", "there is a level without its compression", nil)
	case ok:
		c.bad(key("compression_level"), fmt.Sprintf("write 1 to %d", most), fmt.Sprintf("%s has no level %d", b.Compression, n), nil)
	case b.Compression == "uncompressed":
		c.bad(key("compression_level"), "leave it out", "there are no levels without compression", nil)
	}
}

// ChunkBytes is the size of a request in bytes, 0 for a whole blob, and nil where it is not set.
func (p Push) ChunkBytes() *int64 {
	if p.Chunk == "" {
		return nil
	}
	n := checked(p.Chunk)
	return &n
}

// StallTime is how long the host may take no byte of a blob; nil where it is not set.
func (p Push) StallTime() *time.Duration { return duration(p.Stall) }

// AnswerTime is how long the host may think about a blob; nil where it is not set.
func (p Push) AnswerTime() *time.Duration { return duration(p.Answer) }

// duration reads a time that the checker let pass.
func duration(text string) *time.Duration {
	d, err := time.ParseDuration(text)
	if text == "" || err != nil {
		return nil
	}
	return &d
}
