package registry

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"unicode"

	"github.com/containerd/errdefs"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// What an *Error is about, for errors.Is.
var (
	// ErrNotFound: the registry says that the image or repository is not there. It is containerd's, which
	// those understand who know nothing of this package.
	ErrNotFound = errdefs.ErrNotFound
	// ErrDenied: the registry wants (other) credentials for what was asked.
	ErrDenied = errors.New("access denied")
	// ErrUnreachable: no usable answer, after a few tries: connection refused,
	// DNS, timeout, server error, rate limit. Later, the same may work.
	ErrUnreachable = errors.New("out of reach")
	// ErrBadAnswer: the answer is not what it says it is, or not an image that
	// ibuild can use: wrong digest, too large, malformed, unknown type.
	ErrBadAnswer = errors.New("bad answer")
)

// Error is a failed conversation with a registry. Its text is safe to show: it
// has no credentials, no query strings, and no control characters.
type Error struct {
	Kind error  // one of the Err… values of this package
	Host string // the registry, as people write it
	Ref  string // the reference or repository that it is about
	Msg  string // what happened, in one line
	Hint string // what to do, in one line; may be empty

	cause   error  // a well-known error without secrets, or nil
	missing string // what was said of blobs that a manifest names and the repository does not have, or empty
}

// Error returns what happened and where, without the hint.
func (e *Error) Error() string {
	return fmt.Sprintf("%s: %s: %s", e.Ref, e.Kind, e.Msg)
}

// Is reports whether target is the error's kind.
func (e *Error) Is(target error) bool { return target == e.Kind }

// Unwrap returns the network or TLS error behind this one, where there is one.
func (e *Error) Unwrap() error { return e.cause }

// badAnswer returns an ErrBadAnswer without host; classify fills that in.
func badAnswer(format string, args ...any) error {
	return &Error{Kind: ErrBadAnswer, Msg: fmt.Sprintf(format, args...)}
}

// classify turns an error of ggcr, net/http or this package into what callers
// get: a context's own error, or an *Error.
func classify(e *endpoint, ref string, err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, context.Canceled) {
		return fmt.Errorf("%s: %w", ref, context.Canceled)
	}
	var known *Error
	if errors.As(err, &known) {
		out := *known
		out.Host, out.Ref = e.host, ref
		if out.Hint == "" && out.Kind == ErrBadAnswer {
			out.Hint = "the registry or a proxy in front of it answers wrongly; try again, or use another mirror"
		}
		return &out
	}
	var local localError
	if errors.As(err, &local) {
		return local.error
	}
	out := &Error{Host: e.host, Ref: ref, cause: safeCause(err)}
	var answered *transport.Error
	if errors.As(err, &answered) {
		describeStatus(out, e, answered)
		return out
	}
	describeFailure(out, e, err)
	return out
}

// describeStatus fills in the kind and text for an HTTP answer.
func describeStatus(out *Error, e *endpoint, answered *transport.Error) {
	code := answered.StatusCode
	out.Msg = fmt.Sprintf("%s answered %d %s", out.Host, code, http.StatusText(code))
	if d := diagnostics(answered); d != "" {
		out.Msg += ": " + d
	}
	out.missing = missingBlobs(answered)
	switch {
	case code == http.StatusUnauthorized || code == http.StatusForbidden:
		out.Kind = ErrDenied
		out.Hint = e.loginHint()
	case code == http.StatusTooManyRequests:
		out.Kind = ErrUnreachable
		out.Hint = "the registry limits requests: try again later, log in (docker login " + e.loginName() + "), or set a mirror"
	case code == http.StatusRequestEntityTooLarge:
		out.Kind = ErrBadAnswer
		out.Hint = "a proxy in front of the registry limits the size of requests (nginx: client_max_body_size, Cloudflare: 100 MB): raise it, or set chunk for this host in the settings"
	case code >= 500 || code == http.StatusRequestTimeout:
		out.Kind = ErrUnreachable
		out.Hint = "the registry has a problem: try again later"
	case answered.Request != nil && answered.Request.URL.Path == "/v2/":
		out.Kind = ErrBadAnswer
		out.Hint = e.host + " does not seem to be an image registry: check the name and port"
	case code == http.StatusNotFound && answered.Request != nil && answered.Request.Method != http.MethodGet && answered.Request.Method != http.MethodHead:
		out.Kind = ErrNotFound
		out.Hint = "the repository may have to be created at " + e.host + " before it can be pushed to"
	case code == http.StatusNotFound:
		out.Kind = ErrNotFound
		out.Hint = "check the name and tag; a private repository may also need: docker login " + e.loginName()
	default:
		out.Kind = ErrBadAnswer
		out.Hint = "the registry does not accept this request; check that " + e.host + " is a registry and the name is valid"
	}
}

// describeFailure fills in the kind and text where there was no usable answer.
func describeFailure(out *Error, e *endpoint, err error) {
	out.Kind = ErrUnreachable
	out.Msg = cleanText(err)
	out.Hint = "check the name, the network and the proxy settings (HTTPS_PROXY, NO_PROXY)"

	var dns *net.DNSError
	var notTLS tls.RecordHeaderError
	var cert *tls.CertificateVerificationError
	var invalid x509.CertificateInvalidError
	var alert tls.AlertError
	switch {
	case errors.As(err, &dns) && dns.IsNotFound:
		out.Msg = fmt.Sprintf("no address is known for %s", dns.Name)
	case errors.As(err, &notTLS), strings.Contains(err.Error(), "server gave HTTP response to HTTPS client"):
		out.Msg = e.host + " speaks plain HTTP, not HTTPS"
		out.Hint = "if that is meant to be so, set http = true for this host in the registry settings"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		out.Msg = "the certificate of " + e.host + " is out of date: " + cleanText(invalid)
		out.Hint = "the registry needs a new certificate, or the clock of this machine is wrong"
	case errors.As(err, &cert):
		out.Msg = "the certificate of " + e.host + " is not trusted: " + cleanText(cert.Err)
		out.Hint = "set ca = [\"…\"] for this host in the registry settings"
	case errors.As(err, &alert):
		out.Hint = "the registry may want a client certificate: set keypair for this host in the registry settings"
	case errors.Is(err, errPrivateHost), strings.Contains(err.Error(), "invalid realm in www-authenticate"), strings.Contains(err.Error(), "SSRF protection"):
		out.Kind = ErrBadAnswer
		out.Msg = e.host + " sends the client to an address in a private network, which is refused"
		out.Hint = "the token server and the storage of a registry need a DNS name, or the registry's own address"
	case strings.Contains(err.Error(), "no token in bearer response"):
		out.Kind = ErrDenied
		out.Msg = "the token server of " + e.host + " gave no token"
		out.Hint = e.loginHint()
	case strings.Contains(err.Error(), "does not match requested digest"), strings.Contains(err.Error(), "error verifying sha256"):
		out.Kind = ErrBadAnswer
		out.Msg = "what " + e.host + " sent does not have the digest it was asked for by"
		out.Hint = "the registry or a proxy in front of it is damaged or not to be trusted"
	}
}

// diagnostics returns the codes and messages of a registry's error body.
func diagnostics(answered *transport.Error) string {
	var parts []string
	for _, d := range answered.Errors {
		part := string(d.Code)
		if d.Message != "" && !strings.EqualFold(d.Message, string(d.Code)) {
			part += " (" + d.Message + ")"
		}
		parts = append(parts, part)
	}
	return printable(strings.Join(parts, ", "))
}

// missingBlobs returns what a registry says of blobs that it does not have: some name their digests.
func missingBlobs(answered *transport.Error) string {
	var said strings.Builder
	for _, d := range answered.Errors {
		if d.Code == transport.ManifestBlobUnknownErrorCode || d.Code == transport.BlobUnknownErrorCode {
			fmt.Fprintf(&said, "%s %s %v\n", d.Code, d.Message, d.Detail)
		}
	}
	return said.String()
}

// cleanText returns err's text with the queries of URLs cut off: signed URLs of
// redirects and token requests have secrets in them.
func cleanText(err error) string {
	var uerr *url.Error
	if errors.As(err, &uerr) {
		where := "the registry"
		if u, perr := url.Parse(uerr.URL); perr == nil {
			where = u.Host
		}
		return fmt.Sprintf("%s %s: %s", strings.ToUpper(uerr.Op), where, cleanText(uerr.Err))
	}
	text, _, _ := strings.Cut(err.Error(), "?")
	return printable(text)
}

// printable returns text fit for a terminal: one line, no control characters,
// not longer than anyone would read.
func printable(text string) string {
	const most = 300
	text = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, text)
	text = strings.Join(strings.Fields(text), " ")
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "…"
	}
	return text
}

// safeCause returns the error in err's chain that callers may want to look at
// and that can have no secrets in it. The rest of the chain may: ggcr's errors
// hold the request with its headers.
func safeCause(err error) error {
	var op *net.OpError
	var dns *net.DNSError
	var cert *tls.CertificateVerificationError
	var unknown x509.UnknownAuthorityError
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return context.DeadlineExceeded
	case errors.As(err, &dns):
		return dns
	case errors.As(err, &op):
		return op
	case errors.As(err, &cert):
		return cert
	case errors.As(err, &unknown):
		return unknown
	}
	return nil
}
