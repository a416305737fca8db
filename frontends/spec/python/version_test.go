package python

import (
	"strings"
	"testing"
)

func supported() []string { return []string{"3.14", "3.13", "3.12", "3.11", "3.10"} }

func TestNewest(t *testing.T) {
	for spec, want := range map[string]string{
		"":                    "3.14",
		">=3.11":              "3.14",
		">= 3.11 , < 3.13":    "3.12",
		">=3.11,<3.13":        "3.12",
		"~=3.11":              "3.14", // >=3.11, ==3.*
		"~=3.11.2":            "3.11", // >=3.11.2, ==3.11.*
		"~=3.12.0":            "3.12",
		"==3.11.*":            "3.11",
		"==3.*":               "3.14",
		"!=3.14.*":            "3.13",
		"!=3.14":              "3.14", // 3.14.1 is not 3.14
		"!=3.14.*,!=3.13.*":   "3.12",
		">3.11":               "3.14",
		"<3.14":               "3.13",
		"<=3.13":              "3.12", // 3.13.1 is more than 3.13; uv sees it the same way
		"<=3.13.*,":           "error",
		">=3.11.4":            "3.14",
		">=3.11.4,<3.12":      "3.11",
		"!=3.11.3,<3.12":      "3.11",
		"==3.11":              "",
		"==3.11.5":            "",
		"===3.11.7":           "",
		"<3.10":               "",
		">=3.15":              "",
		">=3.8,!=3.9.*,<3.11": "3.10",
		">=3.11rc1":           "3.14",
		"<3.14.0a1":           "3.13",
		">=3.11,":             "error",
		"3.11":                "error",
		"=3.11":               "error",
		"^3.11":               "error",
		"*":                   "error",
		">=3.11||<3":          "error",
		">=3.11 <3.13":        "error",
		">=3.11.*":            "error",
		"~=3":                 "error",
		">=":                  "error",
		">=three":             "error",
		">=3.11+local":        "error",
	} {
		s, err := ParseSpecifier(spec)
		got, _ := s.Newest(supported())
		if err != nil {
			got = "error"
		}
		if got != want {
			t.Errorf("%q: got %q, want %q (%v)", spec, got, want, err)
		}
	}
	if _, err := ParseSpecifier(strings.Repeat(">=3,", 1000) + ">=3"); err == nil {
		t.Error("no limit")
	}
}

func FuzzSpecifier(f *testing.F) {
	for _, s := range []string{"", ">=3.11", "==3.11.*", "~=3.11.2", "==3.11.0.0.*", "==1!3.*", "!=3.12rc1.*", "==3.post1.*"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := ParseSpecifier(text)
		if err == nil {
			s.Newest(supported())
		}
	})
}
