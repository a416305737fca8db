package testenv

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/ibuild/ibuild/integration/gotool"
	"github.com/ibuild/ibuild/integration/process"
)

// The servers that keep caches of builds are programs of a module of their own: nothing else needs them.
const (
	cacheServersModule = "integration/cacheservers"
	s3Package          = "github.com/versity/versitygw/cmd/versitygw"
	actionsPackage     = "github.com/ibuild/ibuild/integration/cacheservers/actionscache"
)

// S3 is a server of objects on loopback, which verifies signatures. Close ends it.
type S3 struct {
	URL, Region, KeyID, Secret string
	Log                        string // file with one line per request
	dir                        string
	process                    *process.Process
}

// StartS3 starts a server of objects with one bucket. The secret is the one of its only account.
func (e *Env) StartS3(ctx context.Context, bucket, secret string) (*S3, error) {
	s := &S3{Region: "us-east-1", KeyID: "IBUILDTESTKEY", Secret: secret}
	var err error
	if s.dir, err = os.MkdirTemp(e.Dir, "s3-"); err != nil {
		return nil, err
	}
	s.Log = filepath.Join(s.dir, "access.log")
	data, attributes := filepath.Join(s.dir, "data"), filepath.Join(s.dir, "attributes") // beside the data: not each /tmp has them
	for _, dir := range []string{filepath.Join(data, bucket), attributes} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, err
		}
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	s.URL = "http://127.0.0.1:" + port
	s.process, err = e.startCacheServer(ctx, s3Package, s.URL, s.dir, "--access", s.KeyID, "--secret", secret, "--port", "127.0.0.1:"+port,
		"--access-log", s.Log, "posix", "--sidecar", attributes, data)
	return s, err
}

// Environ are the variables that a client of the server has to have.
func (s *S3) Environ() []string {
	return []string{"AWS_ACCESS_KEY_ID=" + s.KeyID, "AWS_SECRET_ACCESS_KEY=" + s.Secret, "AWS_REGION=" + s.Region}
}

// Close ends the server and removes what it has.
func (s *S3) Close() error { return errors.Join(s.process.Stop(), os.RemoveAll(s.dir)) }

// ActionsCache is a server of the cache of GitHub Actions, on loopback. It speaks the first version of the protocol.
type ActionsCache struct {
	URL     string
	dir     string
	process *process.Process
}

// StartActionsCache starts such a server.
func (e *Env) StartActionsCache(ctx context.Context) (*ActionsCache, error) {
	a := &ActionsCache{}
	var err error
	if a.dir, err = os.MkdirTemp(e.Dir, "actions-"); err != nil {
		return nil, err
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	if a.process, err = e.startCacheServer(ctx, actionsPackage, "http://127.0.0.1:"+port, a.dir, filepath.Join(a.dir, "data"), port); err != nil {
		return nil, err
	}
	said, err := os.ReadFile(a.process.Log)
	if err != nil {
		return nil, err
	}
	a.URL = strings.TrimSpace(string(said)) + "/"
	return a, nil
}

// Token is the token of a job that runs on a branch. Its last part, the signature, is the given text; nobody checks it.
func (a *ActionsCache) Token(branch, signature string) (string, error) {
	scopes, err := json.Marshal([]map[string]any{{"Scope": branch, "Permission": 3}})
	if err != nil {
		return "", err
	}
	var parts []string
	for _, part := range []map[string]any{
		{"alg": "none", "typ": "JWT"},
		{"nbf": time.Now().Add(-time.Minute).Unix(), "exp": time.Now().Add(time.Hour).Unix(), "ac": string(scopes)},
	} {
		data, err := json.Marshal(part)
		if err != nil {
			return "", err
		}
		parts = append(parts, base64.RawURLEncoding.EncodeToString(data))
	}
	return strings.Join(append(parts, base64.RawURLEncoding.EncodeToString([]byte(signature))), "."), nil
}

// Close ends the server and removes what it has.
func (a *ActionsCache) Close() error { return errors.Join(a.process.Stop(), os.RemoveAll(a.dir)) }

// startCacheServer builds a program, starts it, and returns when it answers.
func (e *Env) startCacheServer(ctx context.Context, pkg, url, dir string, args ...string) (*process.Process, error) {
	cwd, err := os.Getwd()
	if err != nil {
		return nil, err
	}
	tools := gotool.Builder{Cache: e.tools.Cache, Log: e.log}
	if tools.Module, err = gotool.FindModule(cwd, cacheServersModule); err != nil {
		return nil, err
	}
	program, err := tools.Build(ctx, pkg)
	if err != nil {
		return nil, err
	}
	name := filepath.Base(pkg)
	p, err := process.Start(exec.Command(program, args...), name, filepath.Join(dir, name+".log"))
	if err != nil {
		return nil, err
	}
	err = p.WaitFor(ctx, func(ctx context.Context) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		return resp.Body.Close()
	})
	if err != nil {
		return nil, errors.Join(err, p.Stop())
	}
	return p, nil
}

// freePort is a port that nobody listened to a moment ago.
func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("find a free port: %w", err)
	}
	defer l.Close()
	return strconv.Itoa(l.Addr().(*net.TCPAddr).Port), nil
}
