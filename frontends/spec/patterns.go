package spec

import (
	"regexp"
	"strings"
	"sync"
)

// The names that specs are made of. A pattern is compiled when it is first needed: other commands pay
// nothing for it.
var (
	secretID = pattern(`[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)?`)
	// indexName is the name of a package index, as uv takes it.
	indexName       = pattern(`[A-Za-z0-9_.-]+`)
	pythonProgram   = pattern(`/?[A-Za-z0-9_.][A-Za-z0-9_./+-]*`)
	acceleratorName = pattern(`[A-Za-z0-9][A-Za-z0-9_.:-]*`)
	envKey          = pattern(`[A-Za-z_][A-Za-z0-9_]*`)
	// aptName is a package name (Debian policy 5.6.7) with :architecture, then =version or /suite, as
	// apt-get install takes them. apt allows patterns in versions.
	aptName = pattern(`[a-z0-9][a-z0-9+.-]+(:[a-z0-9-]+)?(=[A-Za-z0-9.+:~*-]+|/[a-z0-9][A-Za-z0-9.-]*)?`)
	// userName is a name or uid, with a group or gid after a colon.
	userName = pattern(`([a-z_][a-z0-9_.-]*\$?|[0-9]{1,10})(:([a-z_][a-z0-9_.-]*\$?|[0-9]{1,10}))?`)
)

// pattern returns a function that says whether all of a text has the given form.
func pattern(expr string) func(string) bool {
	re := sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`\A(?:` + expr + `)\z`) })
	return func(s string) bool { return re().MatchString(s) }
}

// control says whether s has control characters, which no path or name needs.
func control(s string) bool {
	return strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f })
}
