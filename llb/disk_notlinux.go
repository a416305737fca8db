//go:build !linux

package llb

func (o *openFolder) lstat(name string) (diskFile, error) { return o.lstatInRoot(name) }

// folderState is what an open folder keeps for lstat: here, nothing.
type folderState struct{}

func (*folderState) release() {}
