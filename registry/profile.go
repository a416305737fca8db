package registry

import (
	"path"
	"strings"
	"time"
)

// Profile is how a host takes uploads, as far as that cannot be found out from its answers.
type Profile struct {
	// Parallel is how many blobs go up at a time. Of large ones, from 64 MiB on, it is four at most.
	Parallel int
	// Chunk is the size in bytes of the requests that a larger blob goes up in. 0: a blob goes up in one request, and
	// in chunks only where the registry or a proxy does not take it as a whole.
	Chunk int64
	// Resume says that an upload that was cut may go on where it was cut. False: it begins anew, without asking.
	Resume bool
	// Mount says that the host is asked to take blobs over from its other repositories.
	Mount bool
	// Compression is "gzip" where layers of zstd are known not to be taken, and else empty.
	Compression string
	// Stall is how long the host may take no byte of a blob, and Answer how long it may think after the last one.
	// After that, the upload counts as cut.
	Stall, Answer time.Duration
}

// ProfileChange is what a user says of a host. Nil is for what stays as it is known.
type ProfileChange struct {
	Parallel      *int   // from 1 on
	Chunk         *int64 // in bytes
	Resume        *bool
	Mount         *bool
	Compression   *string
	Stall, Answer *time.Duration
}

// of returns p with the changes.
func (c ProfileChange) of(p Profile) Profile {
	set(&p.Parallel, c.Parallel)
	set(&p.Chunk, c.Chunk)
	set(&p.Resume, c.Resume)
	set(&p.Mount, c.Mount)
	set(&p.Compression, c.Compression)
	set(&p.Stall, c.Stall)
	set(&p.Answer, c.Answer)
	p.Parallel = max(1, p.Parallel)
	return p
}

func set[T any](to *T, value *T) {
	if value != nil {
		*to = *value
	}
}

// Profile returns what is known of a host (as in references: "docker.io"), with the user's changes.
func (c *Client) Profile(host string) Profile {
	return c.opts.Profiles[host].of(knownProfile(host))
}

// usualProfile is that of hosts that nothing is known of.
//
// Parallel: over a line of 50 ms latency, a blob of 5 MB spends about 10 round trips on HEAD, POST and on TCP growing
// its window, half a second, in which it hardly uses the line. 16 at a time fill it.
// Answer: GHCR took 11 s to commit 700 MB (jib#4301), and 10 GB are the largest blob that most take.
func usualProfile() Profile {
	return Profile{Parallel: 16, Resume: true, Mount: true, Stall: 60 * time.Second, Answer: 3 * time.Minute}
}

// knownProfile is the table of hosts. The sources are in docs/registries.md.
func knownProfile(host string) Profile {
	p := usualProfile()
	is := func(patterns ...string) bool {
		for _, pattern := range patterns {
			if ok, _ := path.Match(pattern, strings.ToLower(host)); ok {
				return true
			}
		}
		return false
	}
	switch {
	case is("docker.io"):
		p.Parallel = 8 // 429 for pushes, too: buildx#3630
	case is("ghcr.io"):
		p.Resume = false // not shown to work, and a PATCH with a length of more than 4 MiB gets a 416: rust-oci-client#35
	case is("*-docker.pkg.dev", "gcr.io", "*.gcr.io"):
		p.Resume = false // one write for a blob: kitops#780
	case is("public.ecr.aws"):
		p.Resume, p.Mount = false, false // its state is a 404: dotnet/sdk#33019; mounts fail: containers-roadmap#1459
	case is("*.dkr.ecr.*.amazonaws.com", "*.dkr.ecr.*.amazonaws.com.cn"):
		p.Resume = false // its Range does not move on: containers-roadmap#2831
	case is("*.azurecr.io"):
		p.Resume = false // the session is gone after a reset: azure-sdk-for-python#29738
	case is("quay.io"):
		p.Parallel = 8 // nothing is published of its limits; its Range is read with care (see offsetOf)
	case is("registry.gitlab.com"):
		p.Resume = false // inferred: it began as distribution 2, which cancels a session that was cut
	}
	return p
}
