package embed

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// DefaultRoot is the state folder of the current user: /var/lib/ibuild for root,
// else $XDG_DATA_HOME/ibuild/engine or ~/.local/share/ibuild/engine.
func DefaultRoot() (string, error) {
	if os.Geteuid() == 0 {
		return "/var/lib/ibuild", nil
	}
	if data := os.Getenv("XDG_DATA_HOME"); filepath.IsAbs(data) {
		return filepath.Join(data, "ibuild", "engine"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", &SetupError{Kind: SetupRoot, Err: err,
			Problem: "no home folder to keep the engine's state in",
			Hint:    "Set HOME or XDG_DATA_HOME, or give the state folder explicitly."}
	}
	return filepath.Join(home, ".local", "share", "ibuild", "engine"), nil
}

// resolveRoot makes the state folder and returns its path without symlinks,
// which is the form that mount tables show.
func resolveRoot(root string) (string, error) {
	if root == "" {
		def, err := DefaultRoot()
		if err != nil {
			return "", err
		}
		root = def
	}
	root, err := filepath.Abs(root)
	if err == nil {
		err = os.MkdirAll(root, 0o700)
	}
	if err == nil {
		root, err = filepath.EvalSymlinks(root)
	}
	if err != nil {
		return "", &SetupError{Kind: SetupRoot, Err: err,
			Problem: "the engine's state folder cannot be made",
			Hint:    "Choose a folder that you can write to."}
	}
	// The kernel parses overlayfs's options at these characters.
	if strings.ContainsAny(root, ":,\\") {
		return "", &SetupError{Kind: SetupRoot,
			Problem: fmt.Sprintf("the engine's state folder %s has a ':', ',' or '\\' in its path, which overlayfs cannot take", root),
			Hint:    "Choose a folder without these characters."}
	}
	return root, nil
}
