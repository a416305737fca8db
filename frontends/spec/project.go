package spec

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/ibuild/ibuild/frontends/source"
	"github.com/ibuild/ibuild/frontends/spec/credential"
	"github.com/ibuild/ibuild/frontends/spec/python"
	"github.com/ibuild/ibuild/llb"
)

// ProjectOptions say how a Python project with a lock is installed.
type ProjectOptions struct {
	// Path is the project's folder, or its pyproject.toml; "" is the spec's folder.
	Path string
	// Lock is the path of its lock; "" is the one beside it, or at the root of its workspace.
	Lock string
	// InstallProject installs the project itself, too, from its sources. Else its dependencies alone are
	// installed, and only manifests are looked at: a change of code is no change of the image.
	InstallProject bool
	Groups         []string // dependency groups, besides those that are installed by default; "dev" never is
	Extras         []string
	ExtraArgs      []string // more arguments for the tool that installs
	Secrets        []Secret
}

func (o ProjectOptions) clone() ProjectOptions {
	for _, list := range []*[]string{&o.Groups, &o.Extras, &o.ExtraArgs} {
		*list = slices.Clone(*list)
	}
	o.Secrets = slices.Clone(o.Secrets)
	return o
}

func (o *ProjectOptions) fields(t table) []field {
	return []field{
		t.text("path", "the project's folder, or its pyproject.toml; absent: the spec's folder", &o.Path),
		t.text("lock", "its lock; absent: the one beside it, or at the root of the workspace", &o.Lock),
		t.choice("install", "dependencies, or project: the project itself, too", "dependencies", "project", &o.InstallProject),
		t.texts("groups", "dependency groups to install, too", &o.Groups),
		t.texts("extras", "extras of the project to install", &o.Extras),
		t.arguments("extra_args", "more arguments for the tool that installs", &o.ExtraArgs),
		t.secrets(&o.Secrets),
	}
}

func (o *ProjectOptions) short(t table) field {
	return t.text("path", "the project's folder, or its pyproject.toml", &o.Path)
}

// begin checks what is said of a project, whichever tool has locked it, and begins its step. manifest is the
// project's pyproject.toml; false after a finding, or when only the disk could tell.
func (o ProjectOptions) begin(l *lowering, at placed, names credentials) (step llb.Project, manifest string, ok bool) {
	l.checkNames("a dependency group", o.Groups, at.marks, "groups")
	l.checkNames("an extra", o.Extras, at.marks, "extras")
	l.checkExtraArgs(o.ExtraArgs, at.marks)
	step = llb.Project{Groups: slices.Clone(o.Groups), Extras: slices.Clone(o.Extras), Args: slices.Clone(o.ExtraArgs), Lines: l.lines(at.mark())}
	step.Mounts, step.Env = l.mountsAs(o.Secrets, at.mark(), names)
	manifest, ok = o.manifest(l, at.marks.at("path"))
	return step, manifest, ok
}

// installs says whether the project itself is installed. One that is asked for and is no package is a finding, with
// what makes it one.
func (o ProjectOptions) installs(l *lowering, at placed, manifest string, isPackage bool, remedy string) bool {
	if o.InstallProject && !isPackage {
		l.fail(at.marks.at("install"), fmt.Sprintf("%s is not a package, so it cannot be installed", l.folder.show(manifest)),
			remedy+", or leave install out and bring the code with source_folder")
	}
	return o.InstallProject && isPackage
}

// manifest is the path of the project's pyproject.toml; false after a finding.
func (o ProjectOptions) manifest(l *lowering, at mark) (string, bool) {
	p := path.Clean(o.Path)
	if o.Path == "" {
		p = "."
	}
	if !l.checkSource(p, at) || o.Lock != "" && !l.checkSource(o.Lock, at) || l.folder == nil {
		return "", false
	}
	if path.Base(p) == "pyproject.toml" {
		return p, true
	}
	if _, dir, ok := l.find(p, at); !ok || !dir {
		if ok {
			l.fail(at, fmt.Sprintf("%q is neither a folder nor a pyproject.toml", l.folder.show(p)), "name the project's folder")
		}
		return "", false
	}
	return path.Join(p, "pyproject.toml"), true
}

// collect adds findings of a package that reads a project's files; those without a file are about what the
// spec itself names.
func (l *lowering) collect(err error, at mark) bool {
	var found source.Errors
	found.Collect(err)
	for _, e := range found {
		if e.File == "" {
			l.fail(at, e.Msg, e.Hint)
		} else {
			l.errs = append(l.errs, e)
		}
	}
	return len(found) == 0
}

// checkRequires compares a project's requires-python with the image's Python.
func (l *lowering) checkRequires(requires, shown string, at mark) {
	if requires != "" {
		l.checkOneOf([]string{requires}, shown, at)
	}
}

// checkOneOf wants the image's Python to meet one of the specifiers; none are met by any.
func (l *lowering) checkOneOf(pythons []string, shown string, at mark) {
	if len(pythons) == 0 || l.python == "" {
		return
	}
	hint := "no supported Python is allowed"
	for _, text := range pythons {
		spec, err := python.ParseSpecifier(text)
		if err != nil || spec.Allows(l.python) {
			return
		}
		if newest, ok := spec.Newest(llb.PythonVersions()); ok {
			hint = fmt.Sprintf("say python_version: %q", newest)
		}
	}
	l.fail(at, fmt.Sprintf("%s requires Python %s, and the image has %s", shown, strings.Join(pythons, " or "), l.python), hint)
}

// fileMounts show files that were read, below dir, each with its path in the spec's folder.
func fileMounts(dir string, files []python.File) []llb.Mount {
	var out []llb.Mount
	for _, f := range files {
		out = append(out, llb.Mount{Kind: llb.DataMount, Target: path.Join(dir, f.Path), Data: f.Data})
	}
	return out
}

// localMounts show local packages below dir, each with its path in the spec's folder.
func (l *lowering) localMounts(dir string, locals []python.Local, at mark) []llb.Mount {
	var out []llb.Mount
	for _, p := range locals {
		if m, ok := l.localMount(dir, p.Path, at); ok && !slices.ContainsFunc(out, func(o llb.Mount) bool { return o.Target == m.Target }) {
			out = append(out, m)
		}
	}
	return out
}

// localMount shows a file or folder of the spec's folder to a step. A folder is seen through the ignore
// rules, and may be written to, as builds of packages do; nothing of that is kept.
func (l *lowering) localMount(dir, name string, at mark) (llb.Mount, bool) {
	real, isDir, ok := l.find(name, at)
	if !ok {
		return llb.Mount{}, false
	}
	m := llb.Mount{Kind: llb.LocalMount, Target: path.Join(dir, name), Local: l.context(), Source: real, File: !isDir, Scratch: isDir}
	if !isDir {
		return m, true
	}
	ig, err := l.folder.ignores()
	l.errs.Collect(err)
	if m.Exclude, err = ig.below(real); err != nil {
		l.errs.Collect(err)
		return m, false
	}
	if slices.Equal(m.Exclude, []string{"**"}) {
		l.fail(at, fmt.Sprintf("the folder %q is ignored by .dockerignore", name), fmt.Sprintf("add the line !%s there", real))
		return m, false
	}
	if !l.img.allFiles {
		m.Exclude = append(m.Exclude, StandardIgnores()...)
	}
	_, isScript := l.img.start.(headerStart)
	if real == "." && !isScript && len(l.src.Data) > 0 && !l.src.Stdin && !strings.ContainsAny(l.src.Base(), `*?[]\!#`) {
		m.Exclude = append(m.Exclude, l.src.Base()) // the spec itself is no part of a package
	}
	return m, true
}

// folderMounts show folders of a project with all that is in them, over the manifests.
func (l *lowering) folderMounts(folders []string, at mark) []llb.Mount {
	var out []llb.Mount
	for _, dir := range folders {
		if m, ok := l.localMount(llb.ProjectDir, dir, at); ok {
			out = append(out, m)
		}
	}
	return out
}

// checkExtraArgs refuses what would end up in the build's definition, or cannot be an argument.
func (l *lowering) checkExtraArgs(args []string, m marks) {
	for i, a := range args {
		at := m.at("extra_args", i)
		if control(a) {
			l.fail(at, fmt.Sprintf("%q in extra_args has a control character in it", a), "")
		}
		l.checkCredential("an argument in extra_args", credential.InText(a), at)
	}
}

// checkNames refuses what would be taken for an option.
func (l *lowering) checkNames(what string, list []string, m marks, field string) {
	for i, s := range list {
		if strings.HasPrefix(s, "-") || strings.TrimSpace(s) == "" || control(s) {
			l.fail(m.at(field, i), fmt.Sprintf("%q is not the name of %s", s, what), "")
		}
	}
}
