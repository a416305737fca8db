package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/containerd/console"
	"github.com/docker/cli/cli/config/types"
	"github.com/urfave/cli/v2"
)

// hubServer is the name under which docker keeps the credentials of Docker Hub.
const hubServer = "https://index.docker.io/v1/"

// maxAnswer is the longest answer that is read, in bytes: tokens have some hundred.
const maxAnswer = 64 << 10

// asker asks questions on a terminal.
type asker struct {
	there bool // somebody is there to answer
	in    *bufio.Scanner
	out   io.Writer
	// silent turns the echo of what is typed off, and returns what turns it on again.
	silent func() (restore func())
}

func newAsker(c *cli.Context) *asker {
	in := bufio.NewScanner(c.App.Reader)
	in.Buffer(nil, maxAnswer)
	return &asker{there: asksQuestions(c), in: in, out: c.App.ErrWriter, silent: silentTerminal}
}

// silentTerminal turns the echo of the terminal at standard input off.
func silentTerminal() (restore func()) {
	term, err := console.ConsoleFromFile(os.Stdin)
	if err != nil || term.DisableEcho() != nil {
		return func() {}
	}
	return func() { _ = term.Reset() }
}

func (a *asker) say(text string) { fmt.Fprintln(plainText{a.out}, text) }

// line reads one line of an answer.
func (a *asker) line() (string, error) {
	if !a.in.Scan() {
		return "", &usage{msg: "the answer is missing: standard input has ended", hint: "see ibuild build-image --help for the flags"}
	}
	return strings.TrimSpace(a.in.Text()), nil
}

// ask asks until the answer is a good one; an empty one is the fallback.
func (a *asker) ask(question, fallback string, good func(string) bool) (string, error) {
	for range maxTries {
		if fallback == "" {
			fmt.Fprintf(plainText{a.out}, "%s: ", question)
		} else {
			fmt.Fprintf(plainText{a.out}, "%s [%s]: ", question, fallback)
		}
		answer, err := a.line()
		if err != nil {
			return "", err
		}
		if answer = first(answer, fallback); good(answer) {
			return answer, nil
		}
		a.say(fmt.Sprintf("%q cannot be taken", answer))
	}
	return "", &usage{msg: fmt.Sprintf("no usable answer after %d questions", maxTries), hint: "give it as a flag, see ibuild build-image --help"}
}

// secret asks for something that is not shown while it is typed.
func (a *asker) secret(question string) (string, error) {
	fmt.Fprintf(plainText{a.out}, "%s: ", question)
	restore := a.silent()
	answer, err := a.line()
	restore()
	fmt.Fprintln(a.out)
	if err == nil && answer == "" {
		err = &usage{msg: "the answer is empty", hint: "an access token is made at https://app.docker.com/settings/personal-access-tokens"}
	}
	return answer, err
}

// confirm asks for a yes.
func (a *asker) confirm(question string) error {
	if !a.there {
		return &usage{msg: question + ": nobody is there to be asked", hint: "add --yes"}
	}
	answer, err := a.ask(question+"? y or n", "n", func(s string) bool {
		return strings.EqualFold(s, "y") || strings.EqualFold(s, "n") || strings.EqualFold(s, "yes") || strings.EqualFold(s, "no")
	})
	if err == nil && !strings.HasPrefix(strings.ToLower(answer), "y") {
		err = &usage{msg: "nothing was built", hint: "answer y, or add --yes"}
	}
	return err
}

// hubUser is the user whose credentials of Docker Hub are kept, "" for none.
func (b *baseImages) hubUser() string {
	kept, err := b.credentials.GetAuthConfig(hubServer)
	if err != nil || !plainName(kept.Username) {
		return ""
	}
	return kept.Username
}

// checkCredentials asks for Docker Hub's credentials where none are kept, or others are wanted, and keeps them where
// docker does: in the credential helper that its config.json names, or in that file.
func (b *baseImages) checkCredentials() error {
	if b.repo.host != dockerHub {
		if b.cli.Bool("update-credentials") {
			return &usage{msg: fmt.Sprintf("--update-credentials is for Docker Hub, and the images go to %s", b.repo.host), hint: "log in there with its own command, e.g. docker login " + b.repo.host}
		}
		return nil
	}
	kept, err := b.credentials.GetAuthConfig(hubServer)
	if err != nil {
		return fmt.Errorf("credentials of Docker Hub: %w", err)
	}
	has := kept.Password != "" || kept.IdentityToken != "" || kept.RegistryToken != ""
	if has && !b.cli.Bool("update-credentials") {
		return nil
	}
	if !b.asker.there {
		return &usage{msg: "there are no credentials of Docker Hub, and nobody is there to be asked for them", hint: "run docker login, or ibuild build-image on a terminal and without --yes"}
	}
	user, err := b.asker.ask("Docker Hub user", first(b.hubUser(), lastPart(b.repo.name)), plainName)
	if err != nil {
		return err
	}
	token, err := b.asker.secret("Access token of " + user + " (read and write)")
	if err != nil {
		return err
	}
	if err := b.credentials.GetCredentialsStore(hubServer).Store(types.AuthConfig{ServerAddress: hubServer, Username: user, Password: token}); err != nil {
		return fmt.Errorf("keep the credentials of Docker Hub: %w", err)
	}
	where := "in " + b.credentials.Filename
	if helper := first(b.credentials.CredentialHelpers[hubServer], b.credentials.CredentialsStore); helper != "" {
		where = "by the credential helper docker-credential-" + helper
	}
	b.asker.say("The credentials are kept " + where + ".")
	return nil
}

func lastPart(path string) string { return path[strings.LastIndexByte(path, '/')+1:] }
