package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/google/shlex"
	"github.com/ibuild/ibuild/frontends/spec/draft"
	"github.com/ibuild/ibuild/llb"
)

// maxTries is how often a question is asked before something else must be wrong than the answer.
const maxTries = 5

// run asks all questions whose answers no flag has given.
func (i *interview) run() error {
	if err := i.askFrom(); err != nil {
		return err
	}
	a := &i.answers
	steps := []func() error{
		func() error {
			return i.askText("name", "The image's name", first(a.Name, i.folder.Name.Value), &a.Name)
		},
		func() error { return i.askText("registry", "Registry to push to, e.g. ghcr.io/me", "", &a.Registry) },
	}
	if hasPython(a.From.Kind) {
		python := first(a.Python, i.folder.Python.Value, llb.PythonVersions()[0])
		steps = append(steps, func() error { return i.askText("python", "Python", python, &a.Python) }, i.askEntry)
	}
	for _, ask := range steps {
		if err := ask(); err != nil {
			return err
		}
	}
	return nil
}

// hasPython says whether the spec, and not the file that it is made from, says which Python there is.
func hasPython(k draft.Kind) bool {
	return !slices.Contains([]draft.Kind{draft.Dockerfile, draft.UVScript, draft.PixiScript, draft.PixiProject}, k)
}

// askFrom settles what the image is made from.
func (i *interview) askFrom() error {
	if i.answers.From.Kind != "" {
		return nil
	}
	from, needed := i.folder.Default()
	options := slices.DeleteFunc(slices.Clone(i.folder.From), func(f draft.From) bool { return f.Kind == draft.Notebook })
	if len(options) == 0 || needed && len(options) == 1 {
		i.answers.From = from
		return needsAsking(i.folder, draft.Answers{}) // a notebook alone
	}
	fmt.Fprintln(i.say(), "What is the image made from?")
	for n, f := range options {
		without := ""
		if f.NeedsNoSpec() {
			without = fmt.Sprintf("; needs no spec: `ibuild build %s` takes it as it is", f.File)
		}
		fmt.Fprintf(i.say(), "  %d  %s (%s%s)\n", n+1, f.File, f.Kind, without)
	}
	return i.ask("Number", "1", func(answer string) error {
		n, err := strconv.Atoi(answer)
		if err != nil || n < 1 || n > len(options) {
			return &usage{msg: fmt.Sprintf("write a number from 1 to %d", len(options))}
		}
		i.answers.From = options[n-1]
		return nil
	})
}

// askText asks for one answer, unless its flag was given.
func (i *interview) askText(flag, question, fallback string, to *string) error {
	if i.given(flag) {
		return nil
	}
	before := *to
	return i.ask(question, fallback, func(answer string) error {
		*to = answer
		err := checkAnswers(i.answers)
		if err != nil {
			*to = before
		}
		return err
	})
}

func (i *interview) askEntry() error {
	fallback := "none"
	for _, e := range i.folder.Entries {
		if e.Possible(i.answers.From) {
			fallback = strings.Join(e.Args, " ")
			break
		}
	}
	return i.ask("What it runs", fallback, func(answer string) error {
		if answer == "none" || answer == "" {
			i.answers.NoEntry = true
			return nil
		}
		words, err := shlex.Split(answer)
		if err != nil || len(words) == 0 {
			return &usage{msg: "write a command, e.g. python main.py, or none"}
		}
		i.answers.Entry = words
		return checkAnswers(i.answers)
	})
}

// ask reads one line; an empty one is the fallback.
func (i *interview) ask(question, fallback string, take func(answer string) error) error {
	for range maxTries {
		if fallback == "" {
			fmt.Fprintf(i.say(), "%s: ", question)
		} else {
			fmt.Fprintf(i.say(), "%s [%s]: ", question, fallback)
		}
		if !i.in.Scan() {
			return &usage{msg: "the answer is missing: standard input has ended", hint: "--yes asks nothing"}
		}
		answer := first(strings.TrimSpace(i.in.Text()), fallback)
		err := take(answer)
		if err == nil {
			return nil
		}
		_, msg, hint := explain(err)
		if hint != "" {
			msg += "; " + hint
		}
		fmt.Fprintln(i.say(), msg)
	}
	return &usage{msg: fmt.Sprintf("no usable answer after %d questions", maxTries), hint: "give it as a flag, see ibuild spec init --help"}
}

// say is where questions go; names of files are in them.
func (i *interview) say() plainText { return plainText{i.out} }
