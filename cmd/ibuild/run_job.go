package main

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/docker/cli/cli/config/configfile"
	"github.com/docker/cli/cli/config/types"
	"github.com/ibuild/ibuild/runner/gke"
	"github.com/urfave/cli/v2"
)

// readJob reads all that the command line says about a job, but for its image and its name.
func readJob(c *cli.Context) (j gke.Job, err error) {
	if j.Accelerator, err = readAccelerator(c.String("accelerator"), c.Bool(strictName)); err != nil {
		return j, err
	}
	if j.Env, j.SecretEnv, err = variables(c.StringSlice("env"), c.StringSlice("env-capture"), os.Environ()); err != nil {
		return j, err
	}
	if j.Secrets, err = parseSecretMounts(c.StringSlice("mount-secret")); err != nil {
		return j, err
	}
	if j.Volumes, err = parseVolumes(c.StringSlice("volume")); err != nil {
		return j, err
	}
	if dir := c.String("output-dir"); isStorage(dir) {
		v, err := parseStorage("--output-dir", dir)
		if err != nil {
			return j, err
		}
		v.Path = gke.OutputFolder
		j.Volumes = append(j.Volumes, v)
	}
	if j.Selector, err = parsePairs("--node-selector", c.StringSlice("node-selector"), false); err != nil {
		return j, err
	}
	for _, f := range []string{"slices", "retries"} {
		if n := c.Int(f); n < 0 || n == 0 && f == "slices" {
			return j, &usage{msg: fmt.Sprintf("--%s %d", f, n), hint: "it is a number from " + map[string]string{"slices": "1", "retries": "0"}[f] + " on"}
		}
	}
	for _, f := range []string{"timeout", "keep", "wait", "grace"} {
		if c.Duration(f) < 0 {
			return j, &usage{msg: fmt.Sprintf("--%s %s is in the past", f, c.Duration(f)), hint: "write a time such as 2h"}
		}
	}
	if c.String("priority") != "" && c.String("queue") == "" {
		return j, &usage{msg: "--priority is of a queue, and there is no --queue", hint: "add --queue NAME"}
	}
	j.Slices, j.Retries = c.Int("slices"), c.Int("retries")
	j.Timeout, j.Keep, j.Grace = c.Duration("timeout"), c.Duration("keep"), c.Duration("grace")
	j.CPU, j.Memory, j.Shm = c.String("cpu"), c.String("memory"), c.String("shm")
	j.Spot = c.Bool("spot") || j.Accelerator.Spot
	j.Reservation, j.FlexStart = c.String("reservation"), c.Bool("flex-start")
	j.Queue, j.Priority, j.ServiceAccount = c.String("queue"), c.String("priority"), c.String("service-account")
	j.Owner = owner()
	return j, checkChoices(c)
}

// checkChoices refuses values that flags with a few of them do not have.
func checkChoices(c *cli.Context) error {
	for _, f := range []struct {
		name   string
		values []string
	}{
		{"results-auth", []string{"login", "workload", "none"}},
		{"pull-secret", []string{"auto", "none"}},
		{"carry", []string{"", "folder", "imports"}},
		{"on-interrupt", []string{"ask", "cancel", "detach"}},
	} {
		if v := c.String(f.name); !slices.Contains(f.values, v) {
			return &usage{msg: fmt.Sprintf("--%s %s is not known", f.name, v), hint: "it is one of " + strings.TrimPrefix(strings.Join(f.values, ", "), ", ")}
		}
	}
	if dir := c.String("output-dir"); dir != "" && !isStorage(dir) {
		for flag, set := range map[string]bool{"--no-bootstrap": c.Bool("no-bootstrap"), "--results-auth none": c.String("results-auth") == "none"} {
			if set {
				return &usage{msg: "no results come back with " + flag + ", so --output-dir " + dir + " would stay empty", hint: "leave one of them out, or mount storage there: gs://BUCKET or pvc://CLAIM"}
			}
		}
	}
	return nil
}

// isStorage says that --output-dir means storage that is mounted, and not a folder of this machine.
func isStorage(dir string) bool {
	return strings.HasPrefix(dir, "gs://") || strings.HasPrefix(dir, "pvc://")
}

// login is a docker config.json with the caller's credentials for one registry and no other, nil when there are none.
// What they can do the pod can do, so nothing else is in it.
func login(from *configfile.ConfigFile, host string) ([]byte, error) {
	key := host
	if host == "docker.io" || host == "index.docker.io" {
		key = "https://index.docker.io/v1/"
	}
	auth, err := from.GetAuthConfig(key)
	if err != nil {
		return nil, fmt.Errorf("credentials for %s: %w", host, err)
	}
	if auth.Username == "" && auth.Password == "" && auth.IdentityToken == "" && auth.Auth == "" {
		return nil, nil
	}
	own := types.AuthConfig{IdentityToken: auth.IdentityToken, RegistryToken: auth.RegistryToken}
	if auth.Username != "" || auth.Password != "" {
		own.Auth = base64.StdEncoding.EncodeToString([]byte(auth.Username + ":" + auth.Password)) // the form that kubelets read
	}
	return json.Marshal(map[string]any{"auths": map[string]types.AuthConfig{key: own}})
}

// shortLived says that the login at a registry is an access token, as gcloud's helpers give it.
func shortLived(from *configfile.ConfigFile, host string) bool {
	auth, err := from.GetAuthConfig(host)
	return err == nil && (auth.Username == "oauth2accesstoken" || auth.Username == "_dcgcloud_token")
}

// isGoogle says that a registry is Google's: GKE's nodes log in there by themselves.
func isGoogle(host string) bool {
	return strings.HasSuffix(host, ".pkg.dev") || host == "gcr.io" || strings.HasSuffix(host, ".gcr.io")
}
