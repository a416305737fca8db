package python

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/ibuild/ibuild/frontends/source"
	"github.com/ibuild/ibuild/frontends/spec/credential"
	"github.com/moby/buildkit/util/suggest"
)

// valueOptions and flagOptions are what pip and uv know in a requirements file.
func valueOptions() []string {
	return []string{
		"--requirement", "--constraint", "--editable", "--index-url", "--extra-index-url", "--find-links",
		"--no-binary", "--only-binary", "--trusted-host", "--use-feature",
	}
}

func flagOptions() []string {
	return []string{"--no-index", "--pre", "--prefer-binary", "--require-hashes", "--no-build-isolation"}
}

// shortOption is the long name of a one-letter option, "" when there is none.
func shortOption(letter byte) string {
	switch letter {
	case 'r':
		return "--requirement"
	case 'c':
		return "--constraint"
	case 'e':
		return "--editable"
	case 'i':
		return "--index-url"
	case 'f':
		return "--find-links"
	}
	return ""
}

// line checks one logical line of a file and follows it where it names another file.
func (r *reading) line(file string, src source.Source, l logicalLine) {
	if len(r.errs) >= maxFindings {
		return
	}
	complainAt := func(offset int, msg, hint string) {
		line, column := src.Position(l.offset + offset)
		r.errs = append(r.errs, &source.Error{File: src.Name, Line: line, Column: column, Msg: msg, Hint: hint, Data: src.Data})
	}
	complain := func(msg, hint string) { complainAt(0, msg, hint) }
	if credential.InURL(l.text) {
		complain("a URL has a password in it, which would end up in the image's cache and history",
			"mount the password as a secret and write ${NAME} in its place")
		return
	}
	if strings.HasPrefix(l.text, "-") {
		r.option(file, src, l, complain)
		return
	}
	requirement := l.text
	if i := strings.Index(requirement, " --"); i >= 0 {
		requirement = strings.TrimRight(requirement[:i], " \t")
	}
	if ref, ok := ParseLocal(requirement); ok {
		r.pend(pending{ref: ref, file: file, src: src, offset: l.offset, text: local(requirement)})
		return
	}
	// uv fills in variables, and takes a URL without a name.
	if strings.Contains(requirement, "${") || strings.Contains(requirement, "://") && !strings.Contains(requirement, "@ ") {
		return
	}
	_, err := ParseRequirement(requirement)
	var se *SyntaxError
	if errors.As(err, &se) {
		complainAt(se.Offset, se.Msg, "a line is a requirement (PEP 508), e.g. numpy>=2, or an option")
	}
}

// option checks a line that begins with a dash.
func (r *reading) option(file string, src source.Source, l logicalLine, complain func(msg, hint string)) {
	name, value := splitOption(l.text)
	known := slices.Concat(valueOptions(), flagOptions())
	if !slices.Contains(known, name) {
		hint := ""
		if s, ok := suggest.Search(name, known, true); ok {
			hint = fmt.Sprintf("did you mean %s?", s)
		}
		complain(fmt.Sprintf("%q is not an option of a requirements file", name), hint)
		return
	}
	if value == "" && slices.Contains(valueOptions(), name) {
		complain(name+" names nothing", "")
		return
	}
	switch name {
	case "--editable":
		r.editable(file, src, l, value, complain)
	case "--find-links":
		if strings.HasPrefix(value, "file:") {
			complain(fmt.Sprintf("--find-links %s is a file URL, which uv cannot follow", value), "write the path without file:")
		} else if !strings.Contains(value, "://") {
			r.pend(pending{ref: LocalRef{Path: value, Kind: Links}, file: file, src: src, offset: l.offset,
				text: fmt.Sprintf("the local folder %q of --find-links is not supported yet", value)})
		}
	case "--requirement", "--constraint":
		before := r.constraint
		r.constraint = before || name == "--constraint"
		r.follow(file, value, complain)
		r.constraint = before
	}
}

// editable checks the value of -e: a project folder, or the URL of a repository.
func (r *reading) editable(file string, src source.Source, l logicalLine, value string, complain func(msg, hint string)) {
	if strings.Contains(value, "://") && !strings.Contains(value, "file:") {
		complain(fmt.Sprintf("-e %s is a URL, and only folders can be editable", value), "write the requirement without -e")
		return
	}
	ref := parseRef(rawEditable(l.text, value))
	if ref.Kind != Folder {
		complain(fmt.Sprintf("-e names the %s %q, and only folders can be editable", ref.Kind, ref.Path), "write the requirement without -e")
		return
	}
	r.pend(pending{ref: ref, file: file, editable: true, src: src, offset: l.offset,
		text: fmt.Sprintf("editable packages (-e %s) are not supported yet", value)})
}

// rawEditable is the value with its quotes: uv does not take them off.
func rawEditable(line, value string) string {
	for _, quote := range []string{`"`, "'"} {
		if strings.HasSuffix(line, quote+value+quote) {
			return quote + value + quote
		}
	}
	return value
}

// follow reads the file that a line of another one names.
func (r *reading) follow(file, ref string, complain func(msg, hint string)) {
	switch {
	case strings.Contains(ref, "://"):
		complain(fmt.Sprintf("the requirements file %q is a URL, so its content can change from build to build", ref),
			"download it and name the file")
		return
	case strings.Contains(ref, "${"):
		complain(fmt.Sprintf("the path %q has a variable in it, so the file cannot be found before the build", ref),
			"write the path out")
		return
	}
	target, ok := join(file, ref)
	if !ok {
		complain(fmt.Sprintf("the requirements file %q is outside the folder of the spec", ref), "move it into the folder")
		return
	}
	r.add(target, complain)
}

// splitOption parts "-rfile", "-r file", "--requirement=file" and "--requirement file".
func splitOption(text string) (name, value string) {
	if !strings.HasPrefix(text, "--") {
		if len(text) > 1 {
			if long := shortOption(text[1]); long != "" {
				return long, unquote(strings.TrimPrefix(strings.TrimSpace(text[2:]), "="))
			}
		}
		name, _, _ = strings.Cut(text, " ")
		return name, ""
	}
	end := strings.IndexAny(text, "= \t")
	if end < 0 {
		return text, ""
	}
	return text[:end], unquote(strings.TrimSpace(text[end+1:]))
}

func unquote(s string) string {
	if len(s) >= 2 && (s[0] == '"' || s[0] == '\'') && s[len(s)-1] == s[0] {
		return s[1 : len(s)-1]
	}
	return s
}

const localHint = "publish the package to an index or name it by a URL; a later version ships local packages"

func local(requirement string) string {
	return fmt.Sprintf("local packages (%q) are not supported yet", requirement)
}

// IsLocal says whether a requirement is a path on this machine: a folder, an archive, or a file URL.
func IsLocal(requirement string) bool {
	target := requirement
	if _, after, ok := strings.Cut(requirement, "@"); ok && !strings.Contains(requirement, "://") {
		target = strings.TrimSpace(after)
	}
	target, _, _ = strings.Cut(target, ";")
	target = strings.TrimSpace(target)
	switch {
	case strings.HasPrefix(target, "file:") || strings.Contains(requirement, "file://"):
		return true
	case strings.Contains(target, "://"):
		return false
	}
	return target == "." || strings.HasPrefix(target, ".[") || strings.ContainsAny(target, `/\`) || strings.HasSuffix(target, ".whl") ||
		strings.HasSuffix(target, ".tar.gz") || strings.HasSuffix(target, ".zip")
}
