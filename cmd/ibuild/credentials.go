package main

import (
	"bytes"
	"fmt"
	"os"

	"github.com/docker/cli/cli/config"
	"github.com/docker/cli/cli/config/configfile"
	"github.com/ibuild/ibuild/frontends/source"
	"github.com/ibuild/ibuild/llb"
	"github.com/ibuild/ibuild/registry"
	"github.com/moby/buildkit/session"
	"github.com/moby/buildkit/session/auth/authprovider"
)

// auth hands credentials to builders: docker's own config file and its helpers, or what a source names.
func (h *house) auth() session.Attachable {
	return authprovider.NewDockerAuthProvider(authprovider.DockerAuthProviderConfig{
		AuthConfigProvider: authprovider.LoadAuthConfig(h.credentials),
	})
}

// useRegistryConfig takes the credentials from the file that a source names, and no others. The file is one of
// the source's folder, so programs that it names (credential helpers) are not run.
func (h *house) useRegistryConfig(plan *llb.Plan) error {
	if plan.RegistryConfig == "" {
		return nil
	}
	cf, err := readRegistryConfig(plan.RegistryConfig)
	if err != nil {
		return &usage{msg: fmt.Sprintf("%s: registry_config %s: %v", plan.Name, plan.RegistryConfig, err), hint: `write {"auths": {"HOST": {"auth": "…"}}}, as docker login does without a helper`}
	}
	byHost := map[string]registry.Credentials{}
	for host, a := range cf.AuthConfigs {
		byHost[host] = registry.Credentials{Username: a.Username, Password: a.Password}
	}
	h.credentials = cf
	h.registryOptions.Keychain = registry.StaticKeychain(byHost)
	h.registry = registry.New(h.registryOptions)
	return nil
}

func readRegistryConfig(file string) (*configfile.ConfigFile, error) {
	info, err := os.Stat(file)
	if err == nil && (!info.Mode().IsRegular() || info.Size() > source.SpecLimit) {
		err = fmt.Errorf("it is not a file of at most %d MiB", source.SpecLimit>>20)
	}
	if err != nil {
		return nil, err
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	cf, err := config.LoadFromReader(bytes.NewReader(data))
	switch {
	case err != nil:
		return nil, err
	case cf.CredentialsStore != "" || len(cf.CredentialHelpers) > 0:
		return nil, fmt.Errorf("it names a credential helper, a program that a source does not get to run")
	case len(cf.AuthConfigs) == 0:
		return nil, fmt.Errorf("it has no credentials in it")
	}
	return cf, nil
}
