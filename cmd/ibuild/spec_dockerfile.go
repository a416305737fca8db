package main

import (
	"bytes"
	"errors"
	"path/filepath"

	"github.com/ibuild/ibuild/frontends/source"
	"github.com/ibuild/ibuild/llb"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/linter"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
)

// checkDockerfile reads the Dockerfile of a plan with BuildKit's own parser: errors, and the remarks of its
// linter. What only the images named in it can tell is found by the build. A Dockerfile with a syntax of its
// own is for that one to read.
func checkDockerfile(plan *llb.Plan) (remarks source.Errors, err error) {
	if plan.Build == nil || plan.Attrs["cmdline"] != "builtin" {
		return nil, nil
	}
	name, local := plan.Attrs["filename"], plan.Locals["dockerfile"]
	data, there := local.Files[name]
	if !there {
		src, err := source.Read(filepath.Join(local.Dir, name), source.ScriptLimit)
		if err != nil {
			return nil, err
		}
		data = src.Data
	}
	remark := func(msg, hint string, at []parser.Range) {
		remarks = append(remarks, &source.Error{File: plan.Name, Line: firstLine(at), Msg: msg, Hint: hint})
	}
	lint := linter.New(&linter.Config{Warn: func(rule, description, url, msg string, at []parser.Range) {
		remark(msg+" ("+rule+")", "see "+url, at)
	}})
	tree, err := parser.Parse(bytes.NewReader(data))
	if err == nil {
		for _, w := range tree.Warnings {
			if w.Location != nil {
				remark(w.Short, "see "+w.URL, []parser.Range{*w.Location})
			}
		}
		_, _, err = instructions.Parse(tree.AST, lint)
	}
	if err == nil {
		return remarks, nil
	}
	e := &source.Error{File: plan.Name, Msg: err.Error(), Err: err}
	var at *parser.LocationError
	if errors.As(err, &at) && len(at.Locations) > 0 {
		e.Line = firstLine(at.Locations[0])
	}
	return remarks, e
}

func firstLine(at []parser.Range) int {
	if len(at) == 0 {
		return 0
	}
	return at[0].Start.Line
}
