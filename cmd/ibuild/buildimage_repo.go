package main

import (
	"fmt"
	"strings"

	"github.com/distribution/reference"
)

// baseRepo is where base images go.
type baseRepo struct {
	name string // registry and path, without tag
	host string
	// What an Artifact Registry's name has in it, "" for other registries. A project of an organisation's domain is
	// written "example.com:project", and has a slash in names of images.
	location, project, repository string
}

const dockerHub = "docker.io"

// artifactHost is the ending of Artifact Registry's hosts for images: LOCATION-docker.pkg.dev.
const artifactHost = "-docker.pkg.dev"

// parseBaseRepo reads --repo, or an answer.
func parseBaseRepo(text string) (baseRepo, error) {
	named, err := reference.ParseNormalizedNamed(strings.TrimSuffix(text, "/") + "/base")
	if err != nil || !reference.IsNameOnly(named) {
		return baseRepo{}, &usage{msg: fmt.Sprintf("%q is not a repository", text), hint: "write docker.io/USER, or LOCATION-docker.pkg.dev/PROJECT/REPOSITORY, in lower case and without a tag"}
	}
	r := baseRepo{name: strings.TrimSuffix(named.Name(), "/base"), host: reference.Domain(named)}
	if !strings.HasSuffix(r.host, ".pkg.dev") {
		return r, nil
	}
	location, ok := strings.CutSuffix(r.host, artifactHost)
	parts := strings.Split(strings.TrimPrefix(r.name, r.host+"/"), "/")
	if len(parts) > 1 && strings.Contains(parts[0], ".") {
		parts = append([]string{parts[0] + ":" + parts[1]}, parts[2:]...)
	}
	if !ok || len(parts) < 2 {
		return baseRepo{}, &usage{msg: fmt.Sprintf("%q is not a repository of Artifact Registry", text), hint: "write LOCATION-docker.pkg.dev/PROJECT/REPOSITORY, e.g. us-docker.pkg.dev/my-project/images"}
	}
	r.location, r.project, r.repository = location, parts[0], parts[1]
	return r, nil
}

func (r baseRepo) isArtifactRegistry() bool { return r.repository != "" }

// plainName says whether a name may stand in a command that people copy: nothing in it is an option, or something that
// a shell acts upon.
func plainName(s string) bool {
	return s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789:._-") == "" && strings.IndexAny(s, ":._-") != 0
}

// commands are those that create the repository of an Artifact Registry, let the caller push, and let the nodes of a
// cluster pull. ibuild never runs them: they are the user's to decide.
func (r baseRepo) commands(project, cluster string) []string {
	if !r.isArtifactRegistry() {
		return nil
	}
	at := fmt.Sprintf("%s --project=%s --location=%s", r.repository, r.project, r.location)
	account := "NODE_SERVICE_ACCOUNT"
	var out []string
	if cluster != "" {
		account = `"$NODES"`
		out = append(out, fmt.Sprintf("NODES=$(gcloud container clusters list --project=%s --filter=name=%s --format='value(nodeConfig.serviceAccount)')", first(project, r.project), cluster),
			fmt.Sprintf(`[ "$NODES" != default ] || NODES=$(gcloud projects describe %s --format='value(projectNumber)')-compute@developer.gserviceaccount.com`, first(project, r.project)))
	}
	return append([]string{
		"gcloud artifacts repositories create " + at + " --repository-format=docker",
		"gcloud auth configure-docker " + r.host,
		"gcloud artifacts repositories add-iam-policy-binding " + at + ` --role=roles/artifactregistry.writer --member="user:$(gcloud config get-value account)"`,
	}, append(out, "gcloud artifacts repositories add-iam-policy-binding "+at+" --role=roles/artifactregistry.reader --member=serviceAccount:"+account)...)
}

// sayCommands prints them for people.
func (r baseRepo) sayCommands(mode, project, cluster string) {
	list := r.commands(project, cluster)
	if len(list) == 0 {
		return
	}
	say(mode, "What the repository needs, if it is not set up yet: it has to exist, you may push, and the cluster's nodes may pull.\nibuild runs none of these commands:\n  %s", strings.Join(list, "\n  "))
}

// chooseRepo takes the repository of the command line, or asks.
func (b *baseImages) chooseRepo() error {
	for _, flag := range []string{"project", "cluster"} {
		if v := b.cli.String(flag); v != "" && !plainName(v) {
			return &usage{msg: fmt.Sprintf("--%s %q is no name that Google Cloud has", flag, v), hint: "lower case letters, digits and dashes"}
		}
	}
	text := b.cli.String("repo")
	if text == "" {
		if !b.asker.there {
			return &usage{msg: "it is not said where the images go", hint: "add --repo docker.io/USER or --repo LOCATION-docker.pkg.dev/PROJECT/REPOSITORY"}
		}
		var err error
		if text, err = b.askRepo(); err != nil {
			return err
		}
	}
	var err error
	b.repo, err = parseBaseRepo(text)
	return err
}

// askRepo asks which registry, and for what its names consist of.
func (b *baseImages) askRepo() (string, error) {
	a := b.asker
	a.say("Where do the base images go?\n  1  Docker Hub\n  2  Artifact Registry of Google Cloud\n  3  another registry")
	which, err := a.ask("Number", "2", func(s string) bool { return s == "1" || s == "2" || s == "3" })
	if err != nil {
		return "", err
	}
	switch which {
	case "1":
		user, err := a.ask("Docker Hub user or organisation", b.hubUser(), plainName)
		return dockerHub + "/" + user, err
	case "3":
		return a.ask("Repository, e.g. ghcr.io/me", "", func(s string) bool { _, err := parseBaseRepo(s); return err == nil })
	}
	project, err := a.ask("Project", b.cli.String("project"), plainName)
	if err != nil {
		return "", err
	}
	location, err := a.ask("Location", "us", plainName)
	if err != nil {
		return "", err
	}
	repository, err := a.ask("Repository", "ibuild", plainName)
	return location + artifactHost + "/" + strings.ReplaceAll(project, ":", "/") + "/" + repository, err
}
