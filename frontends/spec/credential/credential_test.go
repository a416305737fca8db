package credential

import "testing"

func TestInURL(t *testing.T) {
	for text, want := range map[string]bool{
		"https://user:pw@host/simple":                true,
		"git clone https://oauth2:abc@git.example/x": true,
		"https://:pw@host":                           true,
		"--index-url=https://u:p%40w@host/":          true,
		"postgres://app:pw@db:5432/x":                true,
		"https://a:p@w@host/":                        true,
		"https://user@host/simple":                   false,
		"https://${USER}:${TOKEN}@host/simple":       false,
		"https://user:$TOKEN@host/simple":            false,
		"https://user:${TOKEN}x@host/simple":         true,
		"https://host:8080/a@b":                      false,
		"https://host/a:b@c":                         false,
		"http://localhost:5000":                      false,
		"user:pw@host":                               false,
		"":                                           false,
	} {
		if got := InURL(text); got != want {
			t.Errorf("%s: %v", text, got)
		}
	}
}

func TestInVariable(t *testing.T) {
	for _, test := range []struct {
		name, value string
		want        bool
	}{
		{"DB_PASSWORD", "correcthorse", true},
		{"hf_token", "abcdefgh1", true},
		{"AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI/K7MDENG", true},
		{"X", "AKIAIOSFODNN7EXAMPLE", true},
		{"X", "ghp_0123456789abcdefghijklmnopqrstuvwxyzAB", true},
		{"X", "-----BEGIN RSA PRIVATE KEY-----\nabc", true},
		{"X", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NSJ9.abcdefghijkl", true},
		{"DATABASE_URL", "postgres://a:b@h/d", true},
		{"TOKENIZERS_PARALLELISM", "false-ish-value", false},
		{"MAX_TOKEN", "123456789", false},
		{"TOKEN_FILE", "relative/path/file", false},
		{"API_TOKEN", "/run/secrets/token", false},
		{"API_TOKEN", "${OTHER_TOKEN}", false},
		{"API_TOKEN", "short", false},
		{"KEY", "some-value-of-it", false},
		{"SORT_KEY", "some-value-of-it", false},
		{"AUTH_TOKEN", "https://issuer.example/token", false},
		{"PATH", "/usr/bin:/bin", false},
		{"", "", false},
	} {
		if got := InVariable(test.name, test.value); (got != "") != test.want {
			t.Errorf("%s=%s: %q", test.name, test.value, got)
		}
	}
}

func TestWithoutPassword(t *testing.T) {
	for in, want := range map[string]string{
		"https://user:pw@host/simple": "https://user:xxxxx@host/simple",
		"https://host/simple":         "https://host/simple",
		"numpy>=2":                    "numpy>=2",
	} {
		if got := WithoutPassword(in); got != want {
			t.Errorf("%s: got %s", in, got)
		}
	}
}

func TestMask(t *testing.T) {
	in := "a: https://u:geheim@h/x\nb: https://u:${T}@h\nc: git+https://:x@h"
	want := "a: https://u:xxxxx@h/x\nb: https://u:${T}@h\nc: git+https://:xxxxx@h"
	if got := string(Mask([]byte(in))); got != want {
		t.Errorf("got %s", got)
	}
}
