package engine

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/moby/buildkit/util/suggest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

// Provider is one way to get images built, known by a name.
type Provider struct {
	// Name is what --builder and a spec's builder say: lower case, without "://".
	Name string
	// Priority decides among the usable ones when nobody names one: the highest is taken. One with a negative
	// priority is taken by its name only.
	Priority int
	// Usable says whether it can be used here, without starting or dialling anything, and why, in a few words;
	// nil is yes.
	Usable func(ctx context.Context) (ok bool, why string)
	// ShouldBuild decides whether to build an image whose names are made from its identity, where an image of
	// that name is the image; nil is [BuildMissing]. It asks exists only if it has to know.
	ShouldBuild func(ctx context.Context, req Request, exists func(context.Context) (Existence, string)) (bool, error)

	// Open starts or dials a BuildKit; why says how it came to be chosen. The engine opens it when one is needed,
	// and closes it. One of Open and Make is set; neither, for a name that is never usable.
	Open func(ctx context.Context, why string) (Builder, error)
	// Options are the names of the options that it takes from a source (Plan.BuilderOptions).
	Options []string
	// Key names the BuildKit before it is opened, to remember its platform.
	Key string
	// Platform is what it builds for when nobody says so; zero when it has to be asked.
	Platform ocispecs.Platform

	// Make does the request by other means than a BuildKit, all of it: what is known, and whether to build at
	// all, is its own affair.
	Make func(ctx context.Context, e *Engine, req Request) (*Result, error)
}

// usable asks, with yes as the default.
func (p Provider) usable(ctx context.Context) (bool, string) {
	if p.Usable == nil {
		return true, ""
	}
	return p.Usable(ctx)
}

// Builders are the providers that a program is put together with. Callers of the engine may add their own.
type Builders []Provider

// Choice is the provider for one request.
type Choice struct {
	Provider
	Why string // for people, "" when there is nothing to say
}

// BuilderError says that no builder can be taken. Nothing was built.
type BuilderError struct {
	Msg  string // one line
	Hint string // what to do about it
	// Unusable says that a builder is known, and cannot be used here and now.
	Unusable bool
}

func (e *BuilderError) Error() string { return e.Msg }

// Choose takes the provider called name, or the usable one with the highest priority when name is "". by says
// who named it. The error is a *BuilderError.
func (bs Builders) Choose(ctx context.Context, name, by string) (Choice, error) {
	if name != "" {
		return bs.named(ctx, name, by)
	}
	sorted := slices.Clone(bs)
	slices.SortStableFunc(sorted, func(a, b Provider) int { return b.Priority - a.Priority })
	var passed []string
	for _, p := range sorted {
		if p.Priority < 0 {
			continue
		}
		ok, why := p.usable(ctx)
		if ok {
			if why == "" {
				why = strings.Join(passed, "; ")
			}
			return Choice{p, why}, nil
		}
		passed = append(passed, p.Name+": "+why)
	}
	return Choice{}, &BuilderError{Unusable: true, Msg: "no builder can be used: " + strings.Join(passed, "; "), Hint: "name one with --builder: " + strings.Join(bs.names(), ", ")}
}

func (bs Builders) named(ctx context.Context, name, by string) (Choice, error) {
	i := slices.IndexFunc(bs, func(p Provider) bool { return p.Name == name })
	if i < 0 {
		hint := "the builders are " + strings.Join(bs.names(), ", ")
		if match, ok := suggest.Search(name, bs.names(), false); ok {
			hint = "did you mean " + match + "?"
		}
		return Choice{}, &BuilderError{Msg: fmt.Sprintf("there is no builder %q (asked for by %s)", name, by), Hint: hint}
	}
	ok, why := bs[i].usable(ctx)
	if !ok {
		return Choice{}, &BuilderError{Unusable: true, Msg: fmt.Sprintf("the builder %s (asked for by %s) cannot be used: %s", name, by, why),
			Hint: "name another with --builder: " + strings.Join(slices.DeleteFunc(bs.names(), func(n string) bool { return n == name }), ", ")}
	}
	if why != "" {
		why = "; " + why
	}
	return Choice{bs[i], "asked for by " + by + why}, nil
}

func (bs Builders) names() []string {
	var list []string
	for _, p := range bs {
		list = append(list, p.Name)
	}
	return list
}

// Choose is the provider that a request would be given to: the one that the caller names, else the one that
// the source asks for, else the best usable one.
func (e *Engine) Choose(ctx context.Context, req Request) (Choice, error) {
	choice, err := e.choose(ctx, req)
	if err != nil {
		return choice, err
	}
	for _, name := range slices.Sorted(maps.Keys(req.Plan.BuilderOptions)) {
		if !slices.Contains(choice.Options, name) {
			hint := "it takes none: remove builder_options"
			if len(choice.Options) > 0 {
				hint = "its options are " + strings.Join(choice.Options, ", ")
			}
			return Choice{}, &BuilderError{Msg: fmt.Sprintf("the builder %s has no option %q", choice.Name, name), Hint: hint}
		}
	}
	return choice, nil
}

func (e *Engine) choose(ctx context.Context, req Request) (Choice, error) {
	switch {
	case req.Builder != "":
		return e.Builders.Choose(ctx, req.Builder, "--builder or IBUILD_BUILDER")
	case req.Plan.Builder != "":
		return e.Builders.Choose(ctx, req.Plan.Builder, req.Plan.Name)
	}
	return e.Builders.Choose(ctx, "", "")
}
