package process

import (
	"fmt"
	"os"
	"strings"
)

// Error says that a program did not start or ended
// too early, and shows the end of its log.
type Error struct {
	Process string
	Err     error
	Log     string
}

func (e *Error) Error() string {
	return fmt.Sprintf("%s: %v\n%s", e.Process, e.Err, indent(e.Log))
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

func indent(text string) string {
	return "    | " + strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n    | ")
}

// Tail returns the last lines of a file, or why it cannot be read.
func Tail(file string, lines int) string {
	data, err := os.ReadFile(file)
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimSpace(string(data)), "\n")
	if len(all) > lines {
		all = all[len(all)-lines:]
	}
	return strings.Join(all, "\n")
}
