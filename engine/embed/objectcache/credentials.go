package objectcache

import (
	"context"
	"errors"
	"net/url"
	"os"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/credentials/ec2rolecreds"
	"github.com/aws/aws-sdk-go-v2/credentials/endpointcreds"
)

// credentialsOf returns the credentials of the attributes, else those that the environment of this process has, else
// those that Amazon gives to a container (https://docs.aws.amazon.com/sdkref/latest/guide/feature-container-credentials.html)
// or to a machine. Profiles, single sign-on and web identities would link three more services; `aws configure
// export-credentials` makes variables of them.
func credentialsOf(attrs map[string]string) aws.CredentialsProvider {
	if attrs["access_key_id"] != "" {
		return credentials.NewStaticCredentialsProvider(attrs["access_key_id"], attrs["secret_access_key"], attrs["session_token"])
	}
	if id := os.Getenv("AWS_ACCESS_KEY_ID"); id != "" {
		return credentials.NewStaticCredentialsProvider(id, os.Getenv("AWS_SECRET_ACCESS_KEY"), os.Getenv("AWS_SESSION_TOKEN"))
	}
	if p := containerCredentials(); p != nil {
		return aws.NewCredentialsCache(p)
	}
	if off := os.Getenv("AWS_EC2_METADATA_DISABLED"); strings.EqualFold(off, "true") {
		return aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{}, errors.New("nothing in the environment")
		})
	}
	return aws.NewCredentialsCache(ec2rolecreds.New())
}

// containerCredentials are those of a container service; nil where there is none. Credentials come over plain HTTP from
// the addresses only that Amazon has for this.
func containerCredentials() aws.CredentialsProvider {
	where := os.Getenv("AWS_CONTAINER_CREDENTIALS_FULL_URI")
	if path := os.Getenv("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"); path != "" {
		where = "http://169.254.170.2" + path
	}
	u, err := url.Parse(where)
	if where == "" || err != nil {
		return nil
	}
	known := []string{"localhost", "127.0.0.1", "::1", "169.254.170.2", "169.254.170.23", "fd00:ec2::23"}
	if u.Scheme != "https" && !slices.Contains(known, u.Hostname()) {
		return nil
	}
	return endpointcreds.New(where, func(o *endpointcreds.Options) {
		o.AuthorizationToken = os.Getenv("AWS_CONTAINER_AUTHORIZATION_TOKEN")
		if file := os.Getenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"); file != "" {
			o.AuthorizationTokenProvider = endpointcreds.TokenProviderFunc(func() (string, error) {
				data, err := os.ReadFile(file)
				return strings.TrimSpace(string(data)), err
			})
		}
	})
}
