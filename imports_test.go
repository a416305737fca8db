package ibuild

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/ibuild/ibuild/"

// mayImport is the table of docs/architecture.md: which of our folders may import which others. A folder
// stands for itself and all that is below it, unless it has a line of its own.
var mayImport = map[string][]string{
	"cache":          {},
	"llb":            {},
	"runner/gke":     {},
	"settings":       {"llb"},
	"registry":       {"cache"},
	"frontends":      {"llb", "frontends"},
	"imagelock":      {"frontends/source"},
	"engine":         {"llb", "cache", "registry"},
	"registry/codec": {},
	"engine/export":  {},
	"engine/embed":   {"engine/export", "registry/codec"},
	"engine/remote":  {},
	"cmd":            {"*"},
	"integration":    {"*"},
	"runner/launch":  {"frontends", "llb", "engine", "registry", "runner/gke", "runner/bootstrap"},

	"runner/bootstrap":          {},
	"runner/bootstrap/contract": {},
	"runner/bootstrap/results":  {"registry"},
	"runner/bootstrap/program":  {"registry", "runner/bootstrap/contract", "runner/bootstrap/results"},
	"runner/bootstrap/pack":     {"runner/bootstrap"},
}

// onlyIn names the folders that are the only ones to import a library.
var onlyIn = map[string][]string{
	"github.com/google/go-containerregistry":    {"registry", "integration"},
	"github.com/moby/buildkit/control":          {"engine/embed", "integration"},
	"github.com/moby/buildkit/worker":           {"engine/embed", "integration"},
	"github.com/moby/buildkit/executor":         {"engine/embed", "integration"},
	"github.com/moby/buildkit/solver/llbsolver": {"engine/embed", "integration"},
	"github.com/moby/buildkit/cache":            {"engine/embed", "integration"},
	"go.etcd.io/bbolt":                          {"cache", "engine/embed"},
	"github.com/urfave/cli":                     {"cmd"},
	"k8s.io/client-go":                          {"runner/gke", "integration"},
	"testing":                                   {}, // in no code that is not a test
}

type listedPackage struct {
	ImportPath string
	Imports    []string
}

func TestImports(t *testing.T) {
	for _, p := range listPackages(t) {
		folder := strings.TrimPrefix(p.ImportPath, module)
		for _, imp := range p.Imports {
			if own, ok := strings.CutPrefix(imp, module); ok && !allowed(folder, own) {
				t.Errorf("%s imports %s, which the table in docs/architecture.md forbids", folder, own)
			}
			for lib, folders := range onlyIn {
				if (imp == lib || strings.HasPrefix(imp, lib+"/")) && !slices.ContainsFunc(folders, func(f string) bool { return within(folder, f) }) {
					t.Errorf("%s imports %s, which only %v may", folder, imp, folders)
				}
			}
		}
	}
}

func TestNames(t *testing.T) {
	for _, p := range listPackages(t) {
		if n := filepath.Base(p.ImportPath); slices.Contains([]string{"util", "utils", "common", "helpers", "types", "misc"}, n) {
			t.Errorf("%s: the name %s says nothing", p.ImportPath, n)
		}
	}
}

func listPackages(t *testing.T) []listedPackage {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Imports", "./...")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.String())
	}
	var list []listedPackage
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listedPackage
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		list = append(list, p)
	}
	if len(list) < 8 {
		t.Fatalf("go list names %d packages only", len(list))
	}
	return list
}

func within(folder, top string) bool { return folder == top || strings.HasPrefix(folder, top+"/") }

// allowed looks the nearest line of the table up.
func allowed(folder, own string) bool {
	for top := folder; top != "."; top = filepath.Dir(top) {
		list, ok := mayImport[top]
		if !ok {
			continue
		}
		return within(own, top) || slices.ContainsFunc(list, func(f string) bool { return f == "*" || within(own, f) })
	}
	return false
}
