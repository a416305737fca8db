package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/ibuild/ibuild/engine"
	"github.com/ibuild/ibuild/engine/embed"
	"github.com/ibuild/ibuild/engine/remote"
	"github.com/ibuild/ibuild/frontends/source"
	"github.com/ibuild/ibuild/registry"
	"github.com/ibuild/ibuild/runner/launch"
	"github.com/ibuild/ibuild/settings"
	gatewaypb "github.com/moby/buildkit/frontend/gateway/pb"
	"github.com/moby/buildkit/solver/errdefs"
	"github.com/urfave/cli/v2"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Exit codes, as scripts and CI branch on them.
const (
	exitBuild     = 1 // the build failed
	exitUsage     = 2 // the command line or the source is wrong
	exitAuth      = 3 // a registry or builder wants other credentials
	exitReach     = 4 // a builder or registry is out of reach: try again
	exitCancelled = 130
)

// usage is an error of the command line.
type usage struct {
	msg, hint string
}

func (u *usage) Error() string { return u.msg }

// childExit carries the exit code of a command that ibuild ran.
type childExit struct{ code int }

func (c *childExit) Error() string { return fmt.Sprintf("the command ended with exit code %d", c.code) }

// report tells people what went wrong, where, and what to do, and returns the exit code.
func report(w io.Writer, err error) int {
	if err == nil {
		return 0
	}
	var child *childExit
	if errors.As(err, &child) {
		return child.code
	}
	w = plainText{w}
	code, msg, hint := explain(err)
	for _, s := range errdefs.Sources(err) {
		s.Print(w)
	}
	for _, line := range strings.Split(strings.TrimRight(msg, "\n"), "\n") {
		fmt.Fprintln(w, "ERROR: "+line)
	}
	if hint != "" {
		fmt.Fprintln(w, "hint:  "+strings.ReplaceAll(hint, "\n", "\n       "))
	}
	return code
}

// explain finds out what kind of error it is: its exit code, its text and the remedy.
func explain(err error) (code int, msg, hint string) {
	var (
		use      *usage
		findings source.Errors
		finding  *source.Error
		config   *settings.Error
		reg      *registry.Error
		platform *registry.PlatformError
		locked   *embed.LockedError
		setup    *embed.SetupError
		reach    *remote.UnreachableError
		address  *remote.ConfigError
		builder  *engine.BuilderError
		volatile *engine.VolatileError
		unknown  *engine.UnknownError
		full     *engine.FullError
		linked   *engine.CacheError
		noresult *launch.NoResultsError
		exit     cli.ExitCoder
	)
	if code, msg, hint, ok := explainJob(err); ok {
		return code, msg, hint
	}
	switch {
	case errors.Is(err, context.Canceled) || status.Code(err) == codes.Canceled:
		return exitCancelled, "cancelled", ""
	case errors.As(err, &use):
		return exitUsage, use.msg, use.hint
	case errors.As(err, &findings), errors.As(err, &finding), errors.As(err, &config):
		return exitUsage, err.Error(), ""
	case errors.As(err, &platform):
		return exitUsage, err.Error(), platform.Hint()
	case errors.As(err, &reg):
		return registryCode(reg), err.Error(), reg.Hint
	case errors.As(err, &linked):
		return exitBuild, linked.Msg, linked.Hint
	case errors.As(err, &full):
		return exitBuild, strings.TrimPrefix(err.Error(), "failed to solve: "), fullHintFor(full)
	case errors.As(err, &setup) && setup.Kind == embed.SetupRoot && isFullDisk(err):
		return exitBuild, err.Error(), fullHint()
	case errors.As(err, &locked):
		return exitReach, err.Error(), locked.Hint
	case errors.As(err, &setup):
		return exitReach, err.Error(), setup.Hint
	case errors.As(err, &address):
		return exitUsage, err.Error(), address.Hint
	case errors.As(err, &builder):
		return exitUsage, err.Error(), builder.Hint
	case errors.As(err, &volatile):
		return exitUsage, err.Error(), "give the image a name with a tag: -t NAME:TAG"
	case errors.As(err, &unknown):
		return exitReach, err.Error(), "without --fail-fast (IBUILD_FAIL_FAST, FLYTE_IMG_FAST_FAIL) it is built in this case"
	case errors.As(err, &reach):
		if reach.Credentials() {
			return exitAuth, err.Error(), reach.Hint
		}
		return exitReach, err.Error(), reach.Hint
	case errors.As(err, &noresult):
		return exitBuild, err.Error(), noresult.Hint()
	case errors.As(err, &exit):
		return exit.ExitCode(), err.Error(), ""
	case isFullDisk(err):
		return exitBuild, strings.TrimPrefix(err.Error(), "failed to solve: "), fullHint()
	}
	return solveError(err)
}

func registryCode(e *registry.Error) int {
	switch e.Kind {
	case registry.ErrDenied:
		return exitAuth
	case registry.ErrUnreachable:
		return exitReach
	}
	return exitBuild
}

// solveError reads an error that crossed BuildKit's API, where types are lost and texts remain. The texts
// of a step that failed are the user's own and say nothing about registries.
func solveError(err error) (code int, msg, hint string) {
	var refused *engine.SourceError
	if errors.As(err, &refused) {
		return exitUsage, err.Error(), ""
	}
	msg = strings.TrimPrefix(err.Error(), "failed to solve: ")
	var exit *gatewaypb.ExitError
	if errors.As(err, &exit) || strings.HasPrefix(msg, `process "`) {
		return exitBuild, msg, ""
	}
	if containsAny(msg, "401 Unauthorized", "403 Forbidden", "insufficient_scope", "authorization failed", "no basic auth credentials") {
		return exitAuth, msg, "log in with `docker login REGISTRY`, and check that you may push there"
	}
	switch status.Code(err) {
	case codes.Unavailable, codes.DeadlineExceeded:
		return exitReach, msg, "is the builder or registry running? try again"
	}
	if containsAny(msg, "connection refused", "no such host", "i/o timeout", "TLS handshake timeout", "429 Too Many Requests",
		"500 Internal Server Error", "502 Bad Gateway", "503 Service Unavailable", "504 Gateway Timeout") || errors.Is(err, context.DeadlineExceeded) {
		return exitReach, msg, "is the builder or registry running? try again"
	}
	return exitBuild, msg, ""
}

func containsAny(s string, parts ...string) bool {
	return slices.ContainsFunc(parts, func(p string) bool { return strings.Contains(s, p) })
}

// plainText escapes what a terminal would act upon: names and messages in errors come from files, builders
// and registries that others control.
type plainText struct{ io.Writer }

func (p plainText) Write(b []byte) (int, error) {
	clean := strings.Map(func(r rune) rune {
		if r != '\n' && r != '\t' && !unicode.IsPrint(r) {
			return utf8.RuneError
		}
		return r
	}, string(b))
	_, err := io.WriteString(p.Writer, clean)
	return len(b), err
}

// writeJSON writes a value for programs, and so that people can read it, too.
func writeJSON(w io.Writer, value any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(value)
}
