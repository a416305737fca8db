package main

import (
	"strconv"
	"strings"
)

// fromActions adds what a job of GitHub Actions has in its environment about its cache. The rules are those of
// GitHub's own client (actions/toolkit, packages/cache, config.ts) and of docker buildx.
func fromActions(at string, attrs map[string]string, lookup func(string) (string, bool)) error {
	set := func(key string, names ...string) {
		for _, name := range names {
			if v, ok := lookup(name); ok && v != "" && attrs[key] == "" {
				attrs[key] = v
			}
		}
	}
	second := attrs["version"] == "2"
	if v, _ := lookup("ACTIONS_CACHE_SERVICE_V2"); attrs["version"] == "" {
		second, _ = strconv.ParseBool(v)
	}
	if second {
		set("url_v2", "ACTIONS_RESULTS_URL")
	}
	set("url", "ACTIONS_CACHE_URL", "ACTIONS_RESULTS_URL")
	set("token", "ACTIONS_RUNTIME_TOKEN")
	missing := ""
	switch {
	case attrs["url"]+attrs["url_v2"] == "":
		missing = "url, and ACTIONS_RESULTS_URL"
	case attrs["token"] == "":
		missing = "token, and ACTIONS_RUNTIME_TOKEN"
	default:
		return nil
	}
	return &usage{msg: at + ": type=gha needs " + missing + " is not set",
		hint: "it works in a job of GitHub Actions; its steps that run commands get these variables from an action such as crazy-max/ghaction-github-runtime"}
}

// fromAWS adds what the environment says about S3, as docker buildx does. A remote builder has another environment, so
// credentials are sent along; where there are none, the builder takes those of its own machine.
func fromAWS(at string, attrs map[string]string, lookup func(string) (string, bool)) error {
	for _, key := range []string{"bucket", "region"} {
		if attrs[key] != "" {
			continue
		}
		name := "AWS_" + strings.ToUpper(key)
		v, _ := lookup(name)
		if v == "" {
			return &usage{msg: at + ": type=s3 needs " + key + ", and " + name + " is not set", hint: "write type=s3,region=REGION,bucket=BUCKET"}
		}
		attrs[key] = v
	}
	id, secret := attrs["access_key_id"], attrs["secret_access_key"]
	if (id == "") != (secret == "") {
		return &usage{msg: at + ": access_key_id and secret_access_key go together", hint: "or leave both to AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, where nobody sees them on the command line"}
	}
	if id != "" {
		return nil
	}
	id, _ = lookup("AWS_ACCESS_KEY_ID")
	secret, _ = lookup("AWS_SECRET_ACCESS_KEY")
	if id == "" || secret == "" {
		return nil
	}
	attrs["access_key_id"], attrs["secret_access_key"] = id, secret
	if v, _ := lookup("AWS_SESSION_TOKEN"); v != "" && attrs["session_token"] == "" {
		attrs["session_token"] = v
	}
	return nil
}
