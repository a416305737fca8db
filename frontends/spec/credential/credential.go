// Package credential recognises credentials in texts that would end up in an image, its history or a
// cache key: passwords in URLs, the tokens of well-known services, private keys, and values of
// variables whose name says what they are.
//
// What does not live here: where secrets come from and how they are mounted. It is a guess that helps
// against mistakes, and no defence against somebody who wants to leak one.
package credential

import (
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/ibuild/ibuild/frontends/source"
)

// urlPattern finds user information in a URL anywhere in a text; the user name goes into group 1, the
// password into group 2.
var urlPattern = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`(?i)\b[a-z][a-z0-9+.-]*:/{1,2}([^\s/?#:@'"]*):([^\s/?#'"]+)@`)
})

// userPattern finds a user name without a password; it goes into group 1.
var userPattern = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`://([^\s/?#:@'"]+)@`)
})

// InURL says whether text has a URL with a password in it, or with a token for a user name. A password that
// is only a reference to a variable (${TOKEN}, $TOKEN) is none.
func InURL(text string) bool {
	if !strings.Contains(text, "://") {
		return false
	}
	for _, m := range urlPattern().FindAllStringSubmatch(text, -1) {
		if !reference(m[2]) {
			return true
		}
	}
	for _, m := range userPattern().FindAllStringSubmatch(text, -1) {
		if hasToken(m[1]) {
			return true
		}
	}
	return false
}

// WithoutPassword is the URL as it may be shown: the password is replaced. Other texts come back as they are.
func WithoutPassword(text string) string {
	u, err := url.Parse(text)
	if err != nil || u.User == nil {
		return text
	}
	return u.Redacted()
}

// variablePattern finds what a text sets a variable to, as YAML, TOML, JSON and shells write it: the name goes
// into group 1, the value into one of the groups after it.
var variablePattern = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`([A-Za-z_][A-Za-z0-9_.-]*)["']?[ \t]*[:=][ \t]*(?:"([^"\n]+)"|'([^'\n]+)'|([^\s,{}\["'][^\s,}]*))`)
})

// Mask replaces the passwords of all URLs, tokens, and the values of variables whose name says that they are
// credentials, in a text that is about to be shown.
func Mask(text []byte) []byte {
	text = tokenPattern().ReplaceAll(text, []byte("xxxxx"))
	text = urlPattern().ReplaceAllFunc(text, func(m []byte) []byte {
		sub := urlPattern().FindSubmatchIndex(m)
		if reference(string(m[sub[4]:sub[5]])) {
			return m
		}
		return append(append([]byte(nil), m[:sub[4]]...), "xxxxx@"...)
	})
	return variablePattern().ReplaceAllFunc(text, func(m []byte) []byte {
		sub := variablePattern().FindSubmatchIndex(m)
		for i := 4; i < len(sub); i += 2 {
			name := string(m[sub[2]:sub[3]])
			if sub[i] >= 0 && secretName(name) && InVariable(name, string(m[sub[i]:sub[i+1]])) != "" {
				return slices.Concat(m[:sub[i]], []byte("xxxxx"), m[sub[i+1]:])
			}
		}
		return m
	})
}

// MaskErrors masks what findings say, and the texts that they show; the findings must not be in use elsewhere yet.
func MaskErrors(es source.Errors) {
	masked := map[*byte][]byte{} // findings in one file share its text
	for _, e := range es {
		e.Msg, e.Hint = string(Mask([]byte(e.Msg))), string(Mask([]byte(e.Hint)))
		if len(e.Data) == 0 {
			continue
		}
		key := &e.Data[0]
		if masked[key] == nil {
			masked[key] = Mask(e.Data)
		}
		e.Data = masked[key]
	}
}

// reference says whether s is nothing but a variable.
func reference(s string) bool {
	s, ok := strings.CutPrefix(s, "$")
	if !ok {
		return false
	}
	if inner, ok := strings.CutPrefix(s, "{"); ok {
		s, ok = strings.CutSuffix(inner, "}")
		if !ok {
			return false
		}
	}
	return s != "" && strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_") == ""
}

// tokenPattern has the published forms of the tokens of services that people build images for.
var tokenPattern = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`-----BEGIN [A-Z ]*PRIVATE KEY-----` +
		`|\b(?:AKIA|ASIA)[0-9A-Z]{16}\b` + // AWS access keys
		`|\bgh[pousr]_[A-Za-z0-9]{36,}|\bgithub_pat_[A-Za-z0-9_]{22,}` + // GitHub
		`|\bglpat-[A-Za-z0-9_-]{20,}` + // GitLab
		`|\bxox[abeoprs]-[A-Za-z0-9-]{10,}` + // Slack
		`|\bhf_[A-Za-z0-9]{30,}` + // Hugging Face
		`|\bsk-(?:proj-|ant-)?[A-Za-z0-9_-]{20,}` + // OpenAI, Anthropic
		`|\bAIza[A-Za-z0-9_-]{35}|\bya29\.[A-Za-z0-9_-]{20,}` + // Google
		`|\bnpm_[A-Za-z0-9]{36}|\bpypi-AgE[A-Za-z0-9_-]{20,}|\bdckr_pat_[A-Za-z0-9_-]{20,}` + // registries
		`|\beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}`) // JSON web tokens
})

// hasToken says whether a text has a token in it; none is shorter than 15 characters.
func hasToken(text string) bool { return len(text) >= 15 && tokenPattern().MatchString(text) }

// InText says what kind of credential text has in it, "" for none.
func InText(text string) string {
	switch {
	case InURL(text):
		return "a URL with a password"
	case hasToken(text):
		return "a token or private key"
	}
	return ""
}

// InVariable says what kind of credential the variable holds, "" for none. Beside [InText] it looks at
// the name: a PASSWORD is one whatever it looks like. Paths, switches, numbers and references are not.
func InVariable(name, value string) string {
	if kind := InText(value); kind != "" {
		return kind
	}
	if !secretName(name) || len(value) < 8 || strings.ContainsAny(value, " \t\n") || strings.HasPrefix(value, "/") || reference(value) {
		return ""
	}
	if strings.Trim(value, "0123456789.") == "" || strings.Contains(value, "://") {
		return ""
	}
	return "a credential, going by its name"
}

// InName says that a variable's name alone promises a credential, whatever its value looks like: for callers to whom
// a false alarm costs nothing.
func InName(name string) bool { return secretName(name) }

// secretName says whether a variable's name ends in a word for a credential: DB_PASSWORD and
// HF_TOKEN do, TOKENIZERS_PARALLELISM and TOKEN_FILE do not.
func secretName(name string) bool {
	words := strings.FieldsFunc(strings.ToUpper(name), func(r rune) bool { return r == '_' || r == '-' || r == '.' })
	if len(words) == 0 {
		return false
	}
	last := words[len(words)-1]
	switch last {
	case "PASSWORD", "PASSWD", "PWORD", "PASSPHRASE", "SECRET", "TOKEN", "APIKEY", "CREDENTIAL", "CREDENTIALS", "PAT":
		return true
	case "KEY":
		if len(words) < 2 {
			return false
		}
		switch words[len(words)-2] {
		case "API", "ACCESS", "SECRET", "PRIVATE", "AUTH":
			return true
		}
	}
	return false
}
