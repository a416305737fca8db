package testenv

import (
	"fmt"
	"os"
	"strings"
)

// MissingError says that the machine lacks something that the environment
// needs, and how to get it.
type MissingError struct {
	What string // such as "runc"
	Hint string // what to do about it
}

func (e *MissingError) Error() string {
	return fmt.Sprintf("%s is missing on this machine: %s", e.What, e.Hint)
}

// ProcessError says that a program of the environment did not start or ended
// too early, and shows the end of its log.
type ProcessError struct {
	Process string
	Err     error
	Log     string
}

func (e *ProcessError) Error() string {
	return fmt.Sprintf("%s: %v\n%s", e.Process, e.Err, indent(e.Log))
}

// Unwrap returns the cause.
func (e *ProcessError) Unwrap() error { return e.Err }

func indent(text string) string {
	return "    | " + strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n    | ")
}

// tail returns the last lines of a file, or why it cannot be read.
func tail(file string, lines int) string {
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
