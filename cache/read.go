package cache

import (
	"fmt"
	"io"
)

// ReadAll reads r to its end, at most limit bytes of it. More is an error, and not cut off.
func ReadAll(r io.Reader, limit int64) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err == nil && int64(len(data)) > limit {
		err = fmt.Errorf("more than %d bytes", limit)
	}
	return data, err
}
