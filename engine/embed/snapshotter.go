package embed

import "context"

// The names of the snapshotters.
const (
	overlayFS     = "overlayfs"
	fuseOverlayFS = "fuse-overlayfs"
	nativeFS      = "native"
	autoFS        = "auto"
)

// Choice is a snapshotter and why it was taken.
type Choice struct {
	// Name is "overlayfs", "fuse-overlayfs" or "native".
	Name string
	// Reason is one sentence per better snapshotter that was not taken, or why
	// this one was.
	Reason string
}

// ChooseSnapshotter says which snapshotter an engine at root would use; name is
// as in Config.Snapshotter, and root "" means DefaultRoot. It tries the mounts
// that are needed and leaves nothing mounted. For an ordinary user it starts the
// engine's child process to try them in a user namespace, and fails with a
// *SetupError where that is not possible.
func ChooseSnapshotter(ctx context.Context, root, name string) (Choice, error) {
	root, err := resolveRoot(root)
	if err != nil {
		return Choice{}, err
	}
	return probeSnapshotter(ctx, root, name)
}
