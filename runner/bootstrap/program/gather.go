//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/docker/go-units"
	"github.com/ibuild/ibuild/registry"
	"github.com/ibuild/ibuild/runner/bootstrap/contract"
	"github.com/ibuild/ibuild/runner/bootstrap/results"
	resolverconfig "github.com/moby/buildkit/util/resolver/config"
)

// reserve is what is left of the grace for the termination message.
const reserve = time.Second

// maxShown is how many of the files that are not in the results are named in the output.
const maxShown = 10

// gather pushes the results of a program that ended so, and returns what is to be said of both.
func (c *container) gather(o outcome) outcome {
	ctx, cancel := c.sup.untilEnd()
	defer cancel()
	begin := time.Now()
	s, err := c.push(ctx)
	if err == nil && s.Missed > 0 { // the program has done its work: that is no failure of the job
		o.Message.Message = strings.TrimPrefix(fmt.Sprintf("%s; %d files are not in the results", o.Message.Message, s.Missed), "; ")
		for _, left := range s.Left[:min(len(s.Left), maxShown)] {
			say("not in the results: %s", left)
		}
		if s.Missed > maxShown {
			say("not in the results: %d more", s.Missed-maxShown)
		}
	}
	if s.Digest != "" {
		o.Result = s.Digest.String()
		say("results pushed in %.1f s to %s (files: %d, size: %s)", time.Since(begin).Seconds(), c.tag(), s.Files, units.HumanSize(float64(s.Bytes)))
	}
	if err == nil {
		return o
	}
	if ctx.Err() != nil {
		err = errors.New("the pod's time was over before they were pushed")
	}
	words := "the results are not all saved: " + err.Error()
	say("%s", words)
	switch {
	case o.exit == 0:
		o.Phase, o.exit, o.Message.Message = contract.PhaseResults, contract.ExitResults, words
	case o.Message.Message != "":
		o.Message.Message += "; " + words
	default:
		o.Message.Message = words
	}
	return o
}

// tag is where the results of this host go.
func (c *container) tag() string {
	return contract.Tag(c.Results, number(contract.SliceVariable), number(contract.IndexVariable))
}

// number is that of a variable; 0 when there is none.
func number(variable string) int {
	n, err := strconv.Atoi(os.Getenv(variable))
	if err != nil || n < 0 {
		return 0
	}
	return n
}

// push pushes the results. A token of the pod's identity is good for an hour: where the registry does not let us in
// any more, it is renewed, and what was pushed is not pushed again.
func (c *container) push(ctx context.Context) (results.Summary, error) {
	for begin := time.Now(); ; begin = time.Now() {
		client, err := c.client(ctx)
		if err != nil {
			return results.Summary{}, err
		}
		done := showProgress(c.traffic)
		s, err := results.Push(ctx, client, c.Output, c.tag(), c.traffic)
		close(done)
		if err == nil || c.Auth != contract.AuthWorkload || !errors.Is(err, registry.ErrDenied) || time.Since(begin) < tokenLife {
			return s, withHint(err)
		}
		say("the token of the pod's identity is out of date: it is renewed")
	}
}

// progressPause is how often a long push says how far it is.
const progressPause = 30 * time.Second

// showProgress says what of the results is at the registry, until done is closed.
func showProgress(t *registry.Traffic) (done chan struct{}) {
	done = make(chan struct{})
	tick := time.NewTicker(progressPause)
	go func() {
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
				say("pushing results: %s are sent", units.HumanSize(float64(t.Now().Sent)))
			}
		}
	}()
	return done
}

// tokenLife is how long a token was good at least when a refusal may be due to its age.
const tokenLife = 10 * time.Minute

func withHint(err error) error {
	var known *registry.Error
	if errors.As(err, &known) && known.Hint != "" {
		return fmt.Errorf("%w (%s)", err, known.Hint)
	}
	return err
}

// client is one for the registry of the results.
func (c *container) client(ctx context.Context) (*registry.Client, error) {
	host, _, _ := strings.Cut(c.Results, "/")
	keychain := registry.StaticKeychain(nil)
	switch {
	case c.Auth == contract.AuthWorkload:
		token, err := workloadToken(ctx, host)
		if err != nil {
			return nil, err
		}
		keychain = registry.StaticKeychain(map[string]registry.Credentials{host: {Username: "oauth2accesstoken", Password: token}})
	case c.Credential != "":
		if filepath.Base(c.Credential) != "config.json" {
			return nil, fmt.Errorf("the credential %s is not called config.json", c.Credential)
		}
		if _, err := os.Stat(c.Credential); err != nil {
			return nil, fmt.Errorf("the credential for the results is not there: %w", err)
		}
		if err := os.Setenv("DOCKER_CONFIG", filepath.Dir(c.Credential)); err != nil {
			return nil, err
		}
		keychain = registry.DefaultKeychain()
	}
	options := registry.Options{Keychain: keychain, UserAgent: "ibuild-bootstrap", Log: func(msg string) { say("%s", msg) }}
	if c.PlainHTTP {
		plain := true
		options.Hosts = map[string]resolverconfig.RegistryConfig{host: {PlainHTTP: &plain}}
	}
	return registry.New(options), nil
}

// untilEnd is a context that ends shortly before the pod is killed: after SIGTERM, whether that has come or comes now.
// An interrupt (of a terminal) means the same.
func (s *supervisor) untilEnd() (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.Background())
	stop := func() { time.AfterFunc(time.Until(s.end().Add(-reserve)), cancel) }
	if !s.asked.IsZero() {
		stop()
	}
	go func() {
		for {
			select {
			case <-ctx.Done():
				return
			case sig := <-s.signals:
				if s.asked.IsZero() && (sig == syscall.SIGTERM || sig == syscall.SIGINT) {
					s.asked = time.Now()
					say("the pod was asked to end: what is not pushed in %s is lost", s.grace-reserve)
					stop()
				}
			}
		}
	}()
	return ctx, cancel
}
