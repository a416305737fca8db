package embed

// Runtime is the OCI runtime that runs the steps of a build.
type Runtime struct {
	Name    string // such as "runc", as the runtime calls itself
	Path    string // absolute
	Version string // such as "1.1.5+ds1"
}

// FindRuntime finds the OCI runtime that an engine with this Config.Runtime
// would use and checks that it is new enough. It fails with a *SetupError. It
// runs the runtime to ask for its version.
func FindRuntime(name string) (Runtime, error) { return findRuntime(name) }
