package gke

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/util/validation"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares with a file below testdata, or writes it.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	file := filepath.Join("testdata", filepath.FromSlash(name))
	if *update {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v: run this test with -update", err)
	}
	if string(want) != string(got) {
		t.Errorf("%s differs; run this test with -update and read the difference. Got:\n%s", file, got)
	}
}

// TestCatalogue shows all that can be asked for, for people to read.
func TestCatalogue(t *testing.T) {
	var b strings.Builder
	for _, e := range Catalogue() {
		fmt.Fprintf(&b, "%s %s %s %s %d GB, %d cores, cubes %d %v %q\n", e.Kind, e.Name, e.Label, e.Arch, e.Memory, e.Cores, e.cubes, e.ordered, e.Aliases)
		for _, o := range e.Options {
			fmt.Fprintf(&b, "\t%d chips %s on %d hosts with %d: %s\n", o.Chips, o.Topology, o.Hosts, o.PerHost(), strings.Join(o.Machines, " "))
		}
	}
	golden(t, "catalogue.txt", []byte(b.String()))
}

// TestCatalogueHolds checks what must be so of every row.
func TestCatalogueHolds(t *testing.T) {
	owner := map[string]string{}
	for _, e := range Catalogue() {
		for _, name := range append([]string{e.Name, e.Label}, e.Aliases...) {
			if other := owner[name]; other != "" && other != e.Name {
				t.Errorf("%s is a name of %s and of %s", name, other, e.Name)
			}
			owner[name] = e.Name
			if name != strings.ToLower(name) || strings.ContainsAny(name, ": ") {
				t.Errorf("%q cannot be written", name)
			}
		}
		if list := validation.IsValidLabelValue(e.Label); len(list) > 0 {
			t.Errorf("%s: %v", e.Label, list)
		}
		if len(e.Options) == 0 || !slices.Contains([]string{"amd64", "arm64"}, e.Arch) || e.Kind == CPU {
			t.Errorf("%+v", e)
		}
		for _, o := range e.Options {
			if o.Chips != o.Hosts*o.PerHost() || o.PerHost() < 1 || len(o.Machines) == 0 {
				t.Errorf("%s: %+v", e.Name, o)
			}
			if (e.Kind == TPU) != (o.Topology != "") || e.Kind == TPU && chipsOf(o.Topology) != o.Chips {
				t.Errorf("%s: %+v", e.Name, o)
			}
		}
	}
}
