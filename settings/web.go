package settings

import (
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// url checks a URL; the finding shows no password.
func (c *checker) url(key []string, s string, schemes ...string) {
	u, err := url.Parse(s)
	switch {
	case strings.ContainsFunc(s, func(r rune) bool { return isControl(r) || unicode.IsSpace(r) || r == '"' }) || err != nil:
		c.bad(key, `write characters such as "@", "/", "#" and "%" in a password as %40, %2F, %23 and %25`, redact(s)+" is not a URL", nil)
	case !slices.Contains(schemes, u.Scheme):
		c.bad(key, "begin it with "+schemes[0]+"://", fmt.Sprintf("%s is not a URL of %s", redact(s), strings.Join(schemes, ", ")), nil)
	case hostProblem(u.Host) != "":
		c.bad(key, "", redact(s)+": "+hostProblem(u.Host), nil)
	}
}

func isControl(r rune) bool { return unicode.IsControl(r) }

var hostName = pattern(`^[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?)*\.?$`)

// hostProblem says why s is not host or host:port, "" when it is.
func hostProblem(s string) string {
	switch {
	case s == "":
		return "there is no host"
	case strings.Contains(s, "://"):
		return fmt.Sprintf("%q has a scheme", redact(s))
	case strings.Contains(s, "/"):
		return fmt.Sprintf("%q has a path", redact(s))
	}
	u, err := url.Parse("//" + s)
	if err != nil || u.Host != s || u.User != nil {
		return fmt.Sprintf("%q is not a host", redact(s))
	}
	name, port := u.Hostname(), u.Port()
	if strings.HasSuffix(s, ":") {
		return fmt.Sprintf("%q has no port after the colon", redact(s))
	}
	if port != "" {
		if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
			return fmt.Sprintf("%q has a port that there is not", redact(s))
		}
	}
	if _, err := netip.ParseAddr(name); err != nil && !hostName().MatchString(name) {
		return fmt.Sprintf("%q is not a host", redact(s))
	}
	return ""
}

func hasPort(s string) bool {
	u, err := url.Parse("//" + s)
	return err == nil && u.Port() != ""
}
