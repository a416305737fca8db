package registry

import (
	"context"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
)

// Credentials are a user's name and password (or access token) for one registry.
type Credentials struct {
	Username string
	Password string
}

// DefaultKeychain returns docker's way to find credentials: config.json with its
// credential helpers from PATH, or else podman's auth.json. The files are read
// for each host when it is first talked to.
func DefaultKeychain() Keychain { return authn.DefaultKeychain }

// StaticKeychain returns a keychain with these credentials by host[:port];
// Docker Hub is docker.io.
func StaticKeychain(byHost map[string]Credentials) Keychain {
	return staticKeychain(byHost)
}

type staticKeychain map[string]Credentials

func (k staticKeychain) Resolve(target authn.Resource) (authn.Authenticator, error) {
	c, ok := k[familiarHost(target.RegistryStr())]
	if !ok {
		return authn.Anonymous, nil
	}
	return authn.FromConfig(authn.AuthConfig{Username: c.Username, Password: c.Password}), nil
}

// endpointKeychain asks the user's keychain for one endpoint, notes whether
// there was something, and goes on without where the keychain fails: a broken
// credential helper must not keep anyone from a public image. A registry that
// insists then answers with a 401, and the log says why.
type endpointKeychain struct {
	inner    Keychain
	endpoint *endpoint
	log      func(format string, args ...any)
}

func (k endpointKeychain) Resolve(target authn.Resource) (authn.Authenticator, error) {
	return k.ResolveContext(context.Background(), target)
}

func (k endpointKeychain) ResolveContext(ctx context.Context, target authn.Resource) (authn.Authenticator, error) {
	auth, err := authn.Resolve(ctx, k.inner, target)
	if err != nil {
		// What a helper printed may be anything, so it is not passed on.
		reason, _, _ := strings.Cut(err.Error(), ", out:")
		k.log("credentials for %s could not be had, going on without: %s", k.endpoint.host, printable(reason))
		return authn.Anonymous, nil
	}
	if auth != authn.Anonymous {
		k.endpoint.hasCredentials.Store(true)
	}
	return auth, nil
}
