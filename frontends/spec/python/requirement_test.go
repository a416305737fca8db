package python

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseRequirement(t *testing.T) {
	for text, want := range map[string]Requirement{
		"numpy":                               {Name: "numpy"},
		" numpy >=2 ":                         {Name: "numpy", Specifier: ">=2"},
		"A.B-C_D":                             {Name: "A.B-C_D"},
		"requests[socks, security] ~= 2.31":   {Name: "requests", Extras: []string{"socks", "security"}, Specifier: "~= 2.31"},
		"x>=1,":                               {Name: "x", Specifier: ">=1,"},
		"x[]":                                 {Name: "x"},
		"x (>=1,<2)":                          {Name: "x", Specifier: ">=1,<2"},
		"torch==2.4.0+cu121":                  {Name: "torch", Specifier: "==2.4.0+cu121"},
		"x>=1,!=1.5.*":                        {Name: "x", Specifier: ">=1,!=1.5.*"},
		"pip @ https://h/pip-1.zip#sha1=ab ":  {Name: "pip", URL: "https://h/pip-1.zip#sha1=ab"},
		"x@git+https://h/x@v1 ; os_name=='a'": {Name: "x", URL: "git+https://h/x@v1", Marker: "os_name=='a'"},
		`x>1; python_version < "3.8" and (os_name == 'a' or 'b' not in sys_platform)`: {
			Name: "x", Specifier: ">1", Marker: `python_version < "3.8" and (os_name == 'a' or 'b' not in sys_platform)`},
	} {
		got, err := ParseRequirement(text)
		if err != nil {
			t.Errorf("%q: %v", text, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q:\n%s", text, diff)
		}
	}
}

func TestParseRequirementErrors(t *testing.T) {
	for _, test := range []struct {
		text   string
		offset int
		want   string
	}{
		{"", 0, "the name of a package is missing"},
		{"  ", 2, "the name of a package is missing"},
		{"-e .", 0, `"-e ." does not begin with the name of a package`},
		{"./x", 0, `"./x" does not begin with the name of a package`},
		{"x-", 0, `"x-" does not begin with the name of a package`},
		{"numpy 2", 6, `"2" does not begin with one of === ~= == != <= >= < >`},
		{"numpy>=two", 5, `"two" is not a version (PEP 440)`},
		{"numpy=2", 5, `"=2" does not begin with one of === ~= == != <= >= < >`},
		{"numpy>=1,,", 5, "a version clause is empty, there is a comma too many"},
		{"x[a", 3, "the list of extras is not closed by ]"},
		{"x[a b]", 4, "the list of extras is not closed by ]"},
		{"x[,]", 2, `",]" does not begin with the name of an extra`},
		{"x (>=1", 2, "the versions in parentheses are not closed by )"},
		{"x @ ", 4, "the URL after @ is missing"},
		{"x; python_verison<'3'", 3, `"python_verison" is not a marker variable (PEP 508)`},
		{"x; os_name", 10, "the marker has no comparison here"},
		{"x; os_name=='a", 12, "the quoted text of the marker is not closed"},
		{"x; os_name=='a' y", 16, `unexpected "y"`},
		{"x; (os_name=='a'", 16, "the marker's parenthesis is not closed"},
		{"x; 'a' not os_name", 11, "the marker says not without in"},
		{"x;", 2, "the marker is not complete"},
		{"x;" + strings.Repeat("(", 99), 53, "the marker has more than 50 parentheses in each other"},
		{"x @ https://h y", 14, `unexpected "y"`},
	} {
		_, err := ParseRequirement(test.text)
		var se *SyntaxError
		if !errors.As(err, &se) {
			t.Errorf("%q: %v", test.text, err)
			continue
		}
		if se.Msg != test.want || se.Offset != test.offset {
			t.Errorf("%q: at %d: %s", test.text, se.Offset, se.Msg)
		}
	}
}

func FuzzRequirement(f *testing.F) {
	for _, s := range []string{"numpy>=2", "x[a,b] @ https://h ; os_name == 'a'", "x(>=1);(extra=='y')"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		_, err := ParseRequirement(text)
		var se *SyntaxError
		if err != nil && (!errors.As(err, &se) || se.Offset < 0 || se.Offset > len(text)) {
			t.Fatalf("%q: %#v", text, err)
		}
	})
}
