package settings

import (
	"net/netip"
	"net/url"
	"strings"
)

// redact makes a URL fit to be shown. It goes by the text and not by parsing: a password with a "/" or
// "#" in it makes a URL that parses as something else. Where in doubt it hides too much.
func redact(s string) string {
	if head, _, more := strings.Cut(s, "?"); more && !strings.Contains(s[len(head):], "@") {
		s = head + "?***"
	}
	at := strings.LastIndexByte(s, '@')
	if at < 0 {
		return printable(s)
	}
	start := 0
	if scheme, _, ok := strings.Cut(s, "://"); ok && urlScheme().MatchString(scheme) && len(scheme) < at {
		start = len(scheme) + len("://")
	}
	tail, _, query := strings.Cut(s[at:], "?")
	if query {
		tail += "?***"
	}
	return printable(s[:start] + "***" + tail)
}

var urlScheme = pattern(`^[A-Za-z][A-Za-z0-9+.-]*$`)

// isWeb says whether a URL is one that a build step could reach: an index can be a path of this machine too.
func isWeb(s string) bool {
	scheme, rest, ok := strings.Cut(s, "://")
	return ok && rest != "" && (strings.EqualFold(scheme, "http") || strings.EqualFold(scheme, "https"))
}

// isLoopback says whether a URL, or host:port, is on this machine only.
func isLoopback(s string) bool {
	if !strings.Contains(s, "://") {
		s = "http://" + s
	}
	u, err := url.Parse(s)
	if err != nil {
		return false
	}
	host := strings.TrimSuffix(u.Hostname(), ".")
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}
