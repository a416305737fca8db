package testenv

import "fmt"

// MissingError says that the machine lacks something that the environment
// needs, and how to get it.
type MissingError struct {
	What string // such as "runc"
	Hint string // what to do about it
}

func (e *MissingError) Error() string {
	return fmt.Sprintf("%s is missing on this machine: %s", e.What, e.Hint)
}
