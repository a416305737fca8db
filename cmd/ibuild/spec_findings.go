package main

import (
	"fmt"
	"io"
	"path/filepath"
	"strings"
)

// printText prints findings as compilers do, each with its remedy below.
func printText(w io.Writer, list []finding) error {
	var b strings.Builder
	for _, f := range list {
		fmt.Fprintf(&b, "%s: %s: %s\n", f.place(), f.Severity, strings.ReplaceAll(f.Message, "\n", " "))
		if f.Hint != "" {
			fmt.Fprintf(&b, "   hint: %s\n", strings.ReplaceAll(f.Hint, "\n", " "))
		}
	}
	_, err := io.WriteString(plainText{w}, b.String())
	return err
}

// place is file:line:column, as far as it is known. A file's name stays on its line.
func (f finding) place() string {
	out := oneLine(f.File)
	if f.Line > 0 {
		out += fmt.Sprintf(":%d", f.Line)
		if f.Column > 0 {
			out += fmt.Sprintf(":%d", f.Column)
		}
	}
	return out
}

func printJSON(w io.Writer, list []finding) error { return writeJSON(w, list) }

// printGitHub prints findings as workflow commands of GitHub Actions. Their escapes are those of
// https://github.com/actions/toolkit/blob/main/packages/core/src/command.ts: the runner ends a command at the
// end of its line, and a property at a comma or colon. workspace is the folder that files of the repository are
// named from, "" when it is not known.
func printGitHub(w io.Writer, workspace string, list []finding) error {
	data := strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A")
	property := strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A", ":", "%3A", ",", "%2C")
	for _, f := range list {
		properties := []string{"file=" + property.Replace(fromWorkspace(workspace, f.File))}
		if f.Line > 0 {
			properties = append(properties, fmt.Sprintf("line=%d", f.Line))
			if f.Column > 0 {
				properties = append(properties, fmt.Sprintf("col=%d", f.Column))
			}
		}
		properties = append(properties, "title="+property.Replace("ibuild spec validate"))
		text := f.Message
		if f.Hint != "" {
			text += "\nhint: " + f.Hint
		}
		if _, err := fmt.Fprintf(w, "::%s %s::%s\n", f.Severity, strings.Join(properties, ","), data.Replace(text)); err != nil {
			return err
		}
	}
	return nil
}

// fromWorkspace is a file as GitHub knows it: relative to the workspace, where it is in there.
func fromWorkspace(workspace, file string) string {
	abs, err := filepath.Abs(file)
	if workspace == "" || err != nil || strings.HasPrefix(file, "<") {
		return file
	}
	rel, err := filepath.Rel(workspace, abs)
	if err != nil || !filepath.IsLocal(rel) {
		return file
	}
	return filepath.ToSlash(rel)
}
