package settings

import (
	"regexp"
	"sync"
)

// pattern compiles an expression when it is first used: a start of the program pays for none of them.
func pattern(expr string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(expr) })
}
