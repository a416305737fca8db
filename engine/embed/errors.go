package embed

import "fmt"

// SetupKind says what the machine lacks.
type SetupKind string

// The kinds of a SetupError.
const (
	SetupRoot        SetupKind = "root"        // the state folder cannot be used
	SetupRuntime     SetupKind = "runtime"     // no OCI runtime, or one that is too old
	SetupSnapshotter SetupKind = "snapshotter" // the snapshotter that was asked for does not work
	SetupIDMap       SetupKind = "idmap"       // newuidmap or a subordinate id range is missing
	SetupUserns      SetupKind = "userns"      // user namespaces are not allowed
	SetupPrivileges  SetupKind = "privileges"  // root without the rights of root
	SetupPlatform    SetupKind = "platform"    // not Linux
)

// SetupError says that the engine cannot run on this machine as it is.
type SetupError struct {
	Kind    SetupKind
	Problem string // one line, without the cause
	Hint    string // what to do about it; may be several lines
	Err     error  // the cause, if there is one
}

// Error implements error; the hint is not part of it.
func (e *SetupError) Error() string {
	if e.Err != nil {
		return e.Problem + ": " + e.Err.Error()
	}
	return e.Problem
}

// Unwrap returns the cause.
func (e *SetupError) Unwrap() error { return e.Err }

// LockedError says that another engine uses the state folder.
type LockedError struct {
	Root    string // the state folder
	PID     int    // the holder's process id; 0 if it is not known
	Command string // the holder's command line; "" if it is not known
	Hint    string // what to do about it
}

// Error implements error; the hint is not part of it.
func (e *LockedError) Error() string {
	who := "another process"
	if e.PID != 0 {
		who = fmt.Sprintf("process %d", e.PID)
		if e.Command != "" {
			who += " (" + e.Command + ")"
		}
	}
	return fmt.Sprintf("the engine's state folder %s is in use by %s", e.Root, who)
}

// ChildError says that the engine's child process failed for a reason that is
// not the user's setup.
type ChildError struct {
	Message string // what the child reported, or how it ended
	Output  string // the end of what it wrote to stderr; may be empty
}

// Error implements error.
func (e *ChildError) Error() string {
	s := "the engine's child process failed: " + e.Message
	if e.Output != "" {
		s += "\n" + e.Output
	}
	return s
}
