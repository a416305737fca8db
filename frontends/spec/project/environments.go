package project

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/ibuild/ibuild/frontends/spec/python"
)

// Limits of a search: beyond them nothing is certain, and the tool itself decides.
const (
	maxEnvironments = 20_000
	maxComparisons  = 500_000 // of all searches in one lock
)

// platform are the variables of one real operating system. Combinations that exist nowhere are not
// looked at, because lock files leave out what only matters there.
type platform struct{ os, sys, system string }

func platforms() []platform {
	return []platform{
		{"posix", "linux", "Linux"}, {"posix", "darwin", "Darwin"}, {"nt", "win32", "Windows"}, {"posix", "freebsd14", "FreeBSD"},
	}
}

// search looks for an environment in which two markers differ. It knows more or less of what Python and
// the platforms can be, never all: what it finds is certain, what it does not find is not.
type search struct {
	python []string // full versions that the project allows
	extras bool     // the variable "extra" counts
	left   *int     // comparisons left to do
}

// newSearch takes the lock's requires-python: what lies outside of it does not matter to a lock.
func newSearch(requires string, extras bool, left *int) *search {
	s := &search{extras: extras, left: left}
	spec, err := python.ParseSpecifier(requires)
	if err != nil {
		return s
	}
	for minor := 6; minor <= 20; minor++ {
		for _, patch := range []int{0, 1, 7, 50} {
			s.addPython(spec, []int{3, minor, patch})
		}
	}
	for _, v := range spec.Versions() {
		s.addAround(spec, v)
	}
	return s
}

// addPython takes a version that the project allows.
func (s *search) addPython(spec python.Specifier, v []int) {
	text := fmt.Sprintf("%d.%d.%d", v[0], v[1], v[2])
	if v[2] >= 0 && !slices.Contains(s.python, text) && spec.AllowsVersion(text) {
		s.python = append(s.python, text)
	}
}

// addAround takes a version that a text names, and its neighbours.
func (s *search) addAround(spec python.Specifier, text string) {
	v := release(text)
	if v == nil {
		return
	}
	s.addPython(spec, v)
	s.addPython(spec, []int{v[0], v[1], v[2] + 1})
	s.addPython(spec, []int{v[0], v[1], v[2] - 1})
}

// release is a version's first three numbers, nil when it is not a plain release.
func release(text string) []int {
	v := make([]int, 3)
	for i, part := range strings.Split(strings.TrimSuffix(text, ".*"), ".") {
		n, err := strconv.Atoi(part)
		if err != nil || i > 2 || n > 9999 {
			return nil
		}
		v[i] = n
	}
	return v
}

// found says whether there is an environment in which on holds and none of off does.
func (s *search) found(on python.Marker, off []python.Marker) bool {
	all := append([]python.Marker{on}, off...)
	dims := s.dimensions(all)
	total := 1
	for _, d := range dims {
		if total *= len(d); total > maxEnvironments {
			return false
		}
	}
	for _, m := range all {
		*s.left -= total * m.Size()
	}
	if *s.left < 0 {
		return false
	}
	env := map[string]string{}
	for i := range total {
		rest := i
		for _, d := range dims {
			for name, value := range d[rest%len(d)] {
				env[name] = value
			}
			rest /= len(d)
		}
		if on.Eval(env) == python.True && !slices.ContainsFunc(off, func(m python.Marker) bool { return m.Eval(env) != python.False }) {
			return true
		}
	}
	return false
}

// literals are the texts that any of the markers compares a variable with.
func literals(markers []python.Marker, variable string) []string {
	var out []string
	for _, m := range markers {
		for _, text := range m.Literals(variable) {
			if len(out) < 100 && !slices.Contains(out, text) {
				out = append(out, text)
			}
		}
	}
	return out
}

// dimensions are the independent choices that make up an environment, as far as the markers look at them.
func (s *search) dimensions(markers []python.Marker) [][]map[string]string {
	var dims [][]map[string]string
	if d := s.pythons(markers); d != nil {
		dims = append(dims, d)
	}
	if len(literals(markers, "os_name"))+len(literals(markers, "sys_platform"))+len(literals(markers, "platform_system")) > 0 {
		var d []map[string]string
		for _, p := range platforms() {
			d = append(d, map[string]string{"os_name": p.os, "sys_platform": p.sys, "platform_system": p.system})
		}
		dims = append(dims, d)
	}
	if texts := literals(markers, "platform_machine"); len(texts) > 0 {
		var d []map[string]string
		for _, machine := range append(texts, "none-of-them") {
			d = append(d, map[string]string{"platform_machine": machine})
		}
		dims = append(dims, d)
	}
	if len(literals(markers, "implementation_name"))+len(literals(markers, "platform_python_implementation")) > 0 {
		dims = append(dims, []map[string]string{
			{"implementation_name": "cpython", "platform_python_implementation": "CPython"},
			{"implementation_name": "pypy", "platform_python_implementation": "PyPy"},
		})
	}
	if texts := literals(markers, "extra"); len(texts) > 0 {
		d := []map[string]string{{"extra": ""}}
		for _, e := range texts {
			if s.extras {
				d = append(d, map[string]string{"extra": python.NormalName(e)})
			}
		}
		dims = append(dims, d)
	}
	return dims
}

// pythons are the versions at which a marker's answer can change, nil when no marker asks.
func (s *search) pythons(markers []python.Marker) []map[string]string {
	texts := append(literals(markers, "python_version"), literals(markers, "python_full_version")...)
	if len(texts) == 0 {
		return nil
	}
	// With nothing allowed there is no environment at all, and so nothing that is certain.
	d := []map[string]string{}
	if len(s.python) == 0 {
		return d
	}
	wider := &search{python: slices.Clone(s.python)}
	lowest, highest := bounds(s.python)
	spec, err := python.ParseSpecifier(">=" + lowest + ",<=" + highest)
	if err != nil {
		return d
	}
	for _, text := range texts {
		wider.addAround(spec, text)
	}
	for _, full := range wider.python {
		v := release(full)
		d = append(d, map[string]string{"python_full_version": full, "python_version": fmt.Sprintf("%d.%d", v[0], v[1])})
	}
	return d
}

// bounds are the lowest and the highest of some full versions.
func bounds(versions []string) (lowest, highest string) {
	compare := func(a, b string) int { return slices.Compare(release(a), release(b)) }
	return slices.MinFunc(versions, compare), slices.MaxFunc(versions, compare)
}
