package engine

import (
	"context"
	"fmt"
	"strings"
)

// shownFiles is how many changed files a message names.
const shownFiles = 5

// whatChanged says that files are not what they were when the identity was made, and names them as far as that can
// be seen.
func (b *build) whatChanged(ctx context.Context) string {
	const msg = "files changed while they were built"
	list, err := b.rec.Changed(ctx)
	if err != nil || len(list) == 0 {
		return msg
	}
	more := ""
	if n := len(list) - shownFiles; n > 0 {
		list, more = list[:shownFiles], fmt.Sprintf(" and %d more", n)
	}
	for i, p := range list {
		list[i] = fmt.Sprintf("%q", p)
	}
	return msg + " (" + strings.Join(list, ", ") + more + ")"
}
