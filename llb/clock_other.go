//go:build !linux && !darwin

package llb

import "os"

// traitsOf knows no file system here, so nothing is remembered of files.
func traitsOf(*os.File) traits { return traits{} }
