package llb

import "strings"

const (
	// MicromambaImage holds the micromamba binary that conda steps mount.
	MicromambaImage = "docker.io/mambaorg/micromamba:2.3.2"
	// PixiImage holds the pixi binary that pixi steps mount.
	PixiImage = "ghcr.io/prefix-dev/pixi:0.58.0"
	// CondaPrefix is where conda packages go.
	CondaPrefix = "/opt/conda"
)

// Conda is one `micromamba create` or install.
type Conda struct {
	Packages []string // match specs
	Channels []string // empty is conda-forge
	Python   string   // X.Y that the environment gets, "" for what the packages need
	Mounts   []Mount
	Lines    Lines
}

// Steps are the steps that install c.
func (c Conda) Steps() []Step {
	return []Step{Exec{Title: "conda: " + strings.Join(c.Packages, " "), Lines: c.Lines, Root: true, Mounts: c.Mounts}}
}
