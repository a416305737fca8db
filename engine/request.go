package engine

import (
	"github.com/distribution/reference"
	"github.com/ibuild/ibuild/llb"
	"github.com/ibuild/ibuild/registry"
	"github.com/moby/buildkit/session/secrets"
	"github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

// Request is one build: what to build, for whom, and where the result goes.
type Request struct {
	Plan *llb.Plan
	// Source is the absolute path of what Plan was made of, for the record of the build; "" for standard input.
	Source string
	// Options are the caller's part of the definition: platforms, cache namespace, epoch.
	Options llb.Options
	// Machine returns what steps need to reach networks; it is asked only when a builder is needed.
	Machine func() (llb.Machine, error)
	Secrets secrets.SecretStore
	Outputs Outputs
	// Force builds even when the result is known; steps that a builder has in its cache do not run again.
	Force bool
	// Emulate runs all steps on the platform that they are for, also those that could run natively.
	Emulate bool
	// FailFast makes it an error when a registry cannot tell whether the image exists.
	FailFast bool
	// Builder is the name of the provider to use; "" leaves it to the source and to the priorities.
	Builder string
	// Pins are the digests that a lock has for tags; nil when there is no lock.
	Pins Pins
	// CacheFrom are remote caches that a builder may find results in, and CacheTo those that it puts results into: all
	// when the whole image is solved, those of the environment when code is put on top in this process. Neither is in
	// an identity. Nothing is solved for their sake; see docs/remote-cache.md.
	CacheFrom, CacheTo []CacheLink
	// CacheStrict makes it an error when a cache cannot be written, unless that one has ignore-error.
	CacheStrict bool
}

// Outputs say where a result goes. None at all leaves it in the builder's cache.
type Outputs struct {
	// Names are the image's names with their tags.
	Names []reference.NamedTagged
	// ByIdentity are further names, whose tags are made from the identity. An image that a registry has under
	// such a name is the one that would be built.
	ByIdentity []IdentityName
	// Push brings the image to the registries of Names.
	Push bool
	// Exports are files and folders on this machine.
	Exports []Export
	// Compression is how new layers are compressed.
	Compression Compression
	// Digest asks for the image's digest even when nothing else needs the image to be made.
	Digest bool
	// EnvRepo is the repository (no tag, no digest) that environments are kept in and looked up, under the tag
	// ibuild-env-<identity>; nil is each repository that the image is pushed to. It matters with Push only.
	// Blobs are mounted from it when it is on the image's registry, and copied when it is not.
	//
	// Retention is the registry's: such a tag keeps its image, and with it the layers, until somebody deletes
	// the tag. Nothing breaks then: images that were made on it stay whole, as their own manifests name the same
	// layers, and the next build makes the environment again. A rule that removes tags which were not pulled
	// for some weeks fits; one that removes untagged manifests does no harm.
	//
	// What is found under such a tag is believed: who may push to the repository decides what others' images
	// are made of.
	EnvRepo reference.Named
	// NoEnvTag neither writes nor looks up such tags: environments are known to the machine that made them.
	NoEnvTag bool
}

// Export is one file or folder to write.
type Export struct {
	Type  ExportType
	Dest  string // path; "-" is standard output (not for LocalExport)
	Attrs map[string]string
}

// ExportType is a kind of file or folder that BuildKit can write.
type ExportType string

// The types of exports, as in `-o type=…`.
const (
	OCIExport    ExportType = "oci"    // OCI layout in a tar archive
	DockerExport ExportType = "docker" // archive for `docker load`
	TarExport    ExportType = "tar"    // the file tree as a tar archive
	LocalExport  ExportType = "local"  // the file tree as a folder
)

// image says that the export holds an image, with config and layers, and not only a file tree.
func (t ExportType) image() bool { return t == OCIExport || t == DockerExport }

// repositories are the repositories that are pushed to, each once.
func (o Outputs) repositories() []string {
	var list []string
	if !o.Push {
		return nil
	}
	seen := map[string]bool{}
	for _, n := range o.Names {
		if r := reference.TrimNamed(n).Name(); !seen[r] {
			seen[r] = true
			list = append(list, r)
		}
	}
	return list
}

// environmentRepos are the repositories that environments are kept in.
func (o Outputs) environmentRepos() []string {
	if o.Push && o.EnvRepo != nil {
		return []string{reference.TrimNamed(o.EnvRepo).Name()}
	}
	return o.repositories()
}

// Result is what came out of a build.
type Result struct {
	// Descriptor is the image or index; zero when no output asked for one.
	Descriptor ocispecs.Descriptor
	// ConfigDigest is the digest of the image config of a single image, "" for an index.
	ConfigDigest string
	// Names that the image has now in registries; of a base that was taken as it is, its reference by digest.
	Names []string
	// Identity is the image's identity, "" when it has none; see [Engine.Identify].
	Identity digest.Digest
	// How says in a few words what had to be done: see the How constants.
	How How
	// Builder is the name of the builder that was used, "" for none.
	Builder string
	// Transferred is what this process brought to registries, and what it did not have to. Nil when a builder has pushed by
	// itself: what that moved is not known.
	Transferred *registry.Transferred
	// Warnings say in words what people should know of the result; none of them stops a build.
	Warnings []string
}

// How says what a build took.
type How string

// What a build took, cheapest first.
const (
	HowKnown     How = "known"     // nothing but the tag was looked at
	HowAssembled How = "assembled" // code was put on a known environment image, without a builder
	HowSolved    How = "solved"    // a builder was reached
	HowBase      How = "base"      // nothing was built: the base image is the result
)
