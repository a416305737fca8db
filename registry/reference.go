package registry

import (
	"strings"

	"github.com/distribution/reference"
	"github.com/google/go-containerregistry/pkg/name"
	resolverconfig "github.com/moby/buildkit/util/resolver/config"
	"github.com/opencontainers/go-digest"
)

// dockerHub is Docker Hub as it is called in references and settings.
const dockerHub = "docker.io"

// parsedRef is a reference taken apart, with docker's defaults filled in.
type parsedRef struct {
	text string // as it is shown: the canonical name with tag or digest
	name string // host/path
	host string
	path string
	tag  string        // empty if there is a digest
	dgst digest.Digest // wins over a tag
}

// parseRef reads an image reference as docker does: library/ and docker.io are
// added, and the tag is latest if there is neither tag nor digest.
func parseRef(ref string) (parsedRef, error) {
	named, err := reference.ParseNormalizedNamed(ref)
	if err != nil {
		return parsedRef{}, &Error{Kind: ErrBadAnswer, Ref: printable(ref), Msg: "not an image reference: " + printable(err.Error()),
			Hint: "a reference looks like registry.example.com/team/image:tag"}
	}
	named = reference.TagNameOnly(named)
	p := parsedRef{
		text: named.String(),
		name: named.Name(),
		host: reference.Domain(named),
		path: reference.Path(named),
	}
	if d, ok := named.(reference.Digested); ok {
		p.dgst = d.Digest()
	} else if t, ok := named.(reference.Tagged); ok {
		p.tag = t.Tag()
	}
	return p, nil
}

// pinned returns the reference to the same repository by digest.
func (p parsedRef) pinned(d digest.Digest) parsedRef {
	p.tag, p.dgst = "", d
	p.text = p.name + "@" + d.String()
	return p
}

// in returns the tag or digest for ggcr, in the given repository (the
// reference's own, or a mirror's).
func (p parsedRef) in(repo name.Repository) name.Reference {
	if p.dgst != "" {
		return repo.Digest(p.dgst.String())
	}
	return repo.Tag(p.tag)
}

// target is one place to read an image from.
type target struct {
	*endpoint
	repo name.Repository
}

// targets returns the places to read from: the mirrors of the reference's host
// in the order of the settings, and the host itself as the last one. Mirrors
// with settings that cannot be used are passed over.
func (c *Client) targets(p parsedRef) ([]target, error) {
	var out []target
	for _, mirror := range c.settings(p.host).Mirrors {
		if _, rest, ok := strings.Cut(mirror, "://"); ok {
			mirror = rest // as in BuildKit, the scheme comes from the mirror's own settings
		}
		host, prefix, _ := strings.Cut(mirror, "/")
		e, err := c.endpoint(host, p.host)
		if err != nil {
			c.logf("mirror %s of %s: %v", mirror, p.host, err)
			continue
		}
		if e.isDown() {
			continue
		}
		out = append(out, target{e, e.registry.Repo(strings.Trim(prefix, "/"), p.path)})
	}
	own, err := c.own(p)
	if err != nil {
		return nil, err
	}
	return append(out, own), nil
}

// own returns the reference's own host, which is where writes and questions
// about what was written go.
func (c *Client) own(p parsedRef) (target, error) {
	e, err := c.endpoint(p.host, "")
	if err != nil {
		return target{}, err
	}
	return target{e, e.registry.Repo(p.path)}, nil
}

// settings returns the settings of a host, under any of Docker Hub's names.
func (c *Client) settings(host string) resolverconfig.RegistryConfig {
	if s, ok := c.opts.Hosts[host]; ok {
		return s
	}
	if familiarHost(host) == dockerHub {
		for _, alias := range []string{dockerHub, "index.docker.io", "registry-1.docker.io"} {
			if s, ok := c.opts.Hosts[alias]; ok {
				return s
			}
		}
	}
	return resolverconfig.RegistryConfig{}
}

// familiarHost returns docker.io for all names of Docker Hub, and any other host
// as it is.
func familiarHost(host string) string {
	switch host {
	case name.DefaultRegistry, "registry-1.docker.io":
		return dockerHub
	}
	return host
}

// parseRepo reads the name of a repository; a tag or digest is an error.
func parseRepo(repo string) (parsedRef, error) {
	named, err := reference.ParseNormalizedNamed(repo)
	if err != nil || !reference.IsNameOnly(named) {
		return parsedRef{}, &Error{Kind: ErrBadAnswer, Ref: printable(repo), Msg: "not the name of a repository",
			Hint: "a repository looks like registry.example.com/team/image, without tag or digest"}
	}
	return parsedRef{text: named.Name(), name: named.Name(), host: reference.Domain(named), path: reference.Path(named)}, nil
}
