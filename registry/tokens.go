package registry

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"
)

// tokenLife listens to a token server's answer for how long the token is good. go-containerregistry, which asks for
// the token, does not keep that, and gets another one only after a refusal.
type tokenLife struct {
	mu    sync.Mutex
	until time.Duration // 0: there was no token
}

type tokenLifeKey struct{}

const (
	// unsaidLife is how long a token is good that does not say so, by the token specification.
	unsaidLife = 60 * time.Second
	// mostToken bounds what is read of a token server's answer, in bytes.
	mostToken = 64 << 10
)

// watch returns the context to ask for a token with.
func (l *tokenLife) watch(ctx context.Context) context.Context {
	return context.WithValue(ctx, tokenLifeKey{}, l)
}

// renewal is when the token should be replaced: when a quarter of its life is left. Zero: never.
func (l *tokenLife) renewal() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.until == 0 {
		return time.Time{}
	}
	return time.Now().Add(l.until / 4 * 3)
}

// overhear reads a token server's answer, and leaves it as it was.
func (l *tokenLife) overhear(resp *http.Response) error {
	if resp.StatusCode != http.StatusOK {
		return nil
	}
	data, err := io.ReadAll(io.LimitReader(resp.Body, mostToken+1))
	resp.Body.Close()
	if err != nil {
		return err
	}
	if len(data) > mostToken {
		return badAnswer("the token server's answer is larger than %d bytes", mostToken)
	}
	resp.Body = io.NopCloser(bytes.NewReader(data))
	var token struct {
		ExpiresIn float64 `json:"expires_in"`
	}
	if json.Unmarshal(data, &token) != nil {
		return nil // ggcr says what is wrong
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.until = unsaidLife; token.ExpiresIn > 0 && token.ExpiresIn < 1e6 {
		l.until = time.Duration(token.ExpiresIn * float64(time.Second))
	}
	return nil
}

// errExpired ends a request whose token was refused when much of its body had been sent: the upload goes on from
// there with a new token, rather than sending the body again.
var errExpired = errors.New("the registry wants a new token")
