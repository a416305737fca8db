package contract

import (
	"encoding/json"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Exit codes of ibuild's own.
const (
	ExitResults   = 123 // the program succeeded, and its results could not be saved
	ExitTimeout   = 124 // the time of --timeout is over, as coreutils' timeout says it
	ExitBootstrap = 125 // what comes before the program failed: the command line, the installation
	ExitNotRun    = 126 // the program is there and cannot be run
	ExitNotFound  = 127 // there is no such program
	ExitSignal    = 128 // and the number of the signal that killed the program
)

// Phases of a container: what a Message is about.
const (
	PhaseInstall = "install" // installing what --install names
	PhaseRun     = "run"     // the program itself
	PhaseTimeout = "timeout" // the program was ended as its time was over
	PhaseResults = "results" // pushing the results of a program that succeeded
)

// TerminationLog is where the Message goes: Kubernetes' default, which it makes for each container.
const TerminationLog = "/dev/termination-log"

// maxMessage is the size in bytes of a Message. Kubernetes keeps 4096 of a container, and 12 KiB of a pod.
const maxMessage = 4096

// Message is what the bootstrap leaves for who watches the job.
type Message struct {
	Phase    string `json:"phase"`
	ExitCode int    `json:"exitCode"`          // of the program, or of the installer in its phase; the container may end with one of ibuild's own
	Message  string `json:"message,omitempty"` // what happened, for people; empty when there is nothing to say
	Result   string `json:"result,omitempty"`  // digest of the results' manifest; empty when none were pushed
}

// Encode is the message as JSON of at most 4096 bytes. Of a Message text that is too long, the end is kept: there is
// what an installer says last.
func (m Message) Encode() []byte {
	m.Message = Printable(m.Message)
	for {
		data, err := json.Marshal(m) // an int and strings cannot fail
		if err == nil && len(data) <= maxMessage || m.Message == "" {
			return data
		}
		m.Message = tail(m.Message, len(m.Message)-max(1, (len(data)-maxMessage)/6)) // a rune takes 6 bytes of JSON at most
	}
}

// ParseMessage reads what Encode wrote. Anything else is an error: a program may write there, too.
func ParseMessage(data []byte) (Message, error) {
	var m Message
	if len(data) > maxMessage {
		return m, fmt.Errorf("a termination message of %d bytes", len(data))
	}
	if err := json.Unmarshal(data, &m); err != nil {
		return Message{}, fmt.Errorf("not a termination message of ibuild: %w", err)
	}
	switch m.Phase {
	case PhaseInstall, PhaseRun, PhaseTimeout, PhaseResults:
		return m, nil
	}
	return Message{}, fmt.Errorf("not a termination message of ibuild: phase %.20q", m.Phase)
}

// Printable is text without what moves a cursor or hides letters. Lines stay.
func Printable(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t' || unicode.IsPrint(r):
			return r
		case r == '\r':
			return '\n' // a progress bar's lines lie above each other
		}
		return -1
	}, strings.ToValidUTF8(s, "\uFFFD"))
}

// tail is at most the last n bytes of valid text, of whole runes.
func tail(s string, n int) string {
	if n >= len(s) {
		return s
	}
	s = s[len(s)-max(n, 0):]
	for len(s) > 0 && !utf8.RuneStart(s[0]) {
		s = s[1:]
	}
	return s
}
