package llb

import (
	"maps"
	"slices"

	gateway "github.com/moby/buildkit/frontend/gateway/client"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

// Plan is what a frontend makes of its source: all that is needed to record, identify and build it.
// It is a value that nobody changes once the frontend has returned it.
type Plan struct {
	// Kind is the frontend's name for people: "Dockerfile", "image spec", "uv script".
	Kind string
	// Name is what the source is called in messages, e.g. "train.py".
	Name string
	// Image is set by frontends that lower to steps; exactly one of Image and Build is set.
	Image *Image
	// Build is a BuildKit build function, for frontends that make LLB by themselves (Dockerfile).
	Build gateway.BuildFunc
	// Attrs are the frontend options that Build reads from its client ("filename", "build-arg:X").
	Attrs map[string]string
	// Locals are the folders that the definition may read, by the name of the local source.
	Locals map[string]Local
	// Platforms that the source itself asks for; the caller's choice goes first.
	Platforms []ocispecs.Platform
	// Secrets that the definition mounts.
	Secrets []SecretNeed
	// Tag is the image name that the source itself asks for, "" for none. Without a tag of its own it gets one
	// from the identity.
	Tag string
	// TagFormat is what such a tag looks like; see [IdentityTag]. It means nothing for a Tag with a tag.
	TagFormat string
	// Builder is the name of the builder that the source asks for, "" for any; the caller's choice goes first.
	Builder string
	// Warnings are findings that do not stop the build, with their positions.
	Warnings []error
	// BuilderOptions are for the builder that the source itself asks for.
	BuilderOptions map[string]string
	// RegistryConfig is a docker config.json with the credentials to use, "" for the user's own.
	RegistryConfig string
	// CacheFrom are images whose cache a builder may use.
	CacheFrom []string
	// CA are certificates (PEM) that the image trusts, for steps on machines with a bundle of their own.
	CA []byte
}

// SecretNeed is a secret that a step mounts, known before the build.
type SecretNeed struct {
	ID       string
	Optional bool
	File     string // on this machine, where the source itself says so; "" when the caller has to know
	Lines    Lines
}

// WithLabels returns a plan whose image has the labels, too; p stays as it is.
func (p *Plan) WithLabels(labels map[string]string) *Plan {
	if len(labels) == 0 || p.Image == nil {
		return p
	}
	plan, img := *p, *p.Image
	img.Steps = slices.Clone(img.Steps)
	for _, k := range slices.Sorted(maps.Keys(labels)) {
		img.Steps = append(img.Steps, Label{Key: k, Value: labels[k]})
	}
	plan.Image = &img
	return &plan
}

// WithSums returns the same plan, with one memory of the digests of local files for all that one build does
// with them: identity, code layers, and what is sent to a builder. Files that change in between are an error. A
// source is listed once: what comes or goes after that is for the next build.
// What is learned of files is kept in memory for the next process; nil keeps nothing.
func (p *Plan) WithSums(memory FileMemory) *Plan {
	plan := *p
	plan.Locals = withSums(p.Locals, memory)
	if p.Image != nil {
		img := *p.Image
		img.Locals = plan.Locals
		plan.Image = &img
	}
	return &plan
}
