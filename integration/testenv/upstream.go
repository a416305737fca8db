package testenv

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"
)

// upstreamTimeout bounds the question whether real registries can be reached:
// where they cannot, nobody should wait to learn it.
const upstreamTimeout = 4 * time.Second

// Reachable returns nil when Docker Hub and ghcr.io both answer as registries,
// and otherwise why one of them does not.
func Reachable(ctx context.Context) error {
	return reachable(ctx, "https://registry-1.docker.io/v2/", "https://ghcr.io/v2/")
}

func reachable(ctx context.Context, urls ...string) error {
	ctx, cancel := context.WithTimeout(ctx, upstreamTimeout)
	defer cancel()
	group, ctx := errgroup.WithContext(ctx)
	for _, url := range urls {
		group.Go(func() error { return answersAsRegistry(ctx, url) })
	}
	return group.Wait()
}

// answersAsRegistry wants the two answers of a registry, yes and "log in
// first"; a company's proxy or a login page gives others.
func answersAsRegistry(ctx context.Context, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	switch {
	case resp.Header.Get("Docker-Distribution-Api-Version") == "" && resp.Header.Get("WWW-Authenticate") == "":
		return fmt.Errorf("%s answers %s, but not as a registry", url, resp.Status)
	case resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusUnauthorized:
		return fmt.Errorf("%s answers %s", url, resp.Status)
	}
	return nil
}
