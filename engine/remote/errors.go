package remote

import (
	"crypto/x509"
	"errors"

	"github.com/moby/buildkit/util/grpcerrors"
	"google.golang.org/grpc/codes"
)

// ConfigError says that the configuration cannot be used as it is.
type ConfigError struct {
	Field   string // of Config
	Value   string // as given; "" if it is the lack of one
	Problem string // one line
	Hint    string // what to do about it
	Err     error  // the cause, if there is one
}

// Error implements error; the hint is not part of it.
func (e *ConfigError) Error() string {
	if e.Err != nil {
		return e.Problem + ": " + e.Err.Error()
	}
	return e.Problem
}

// Unwrap returns the cause.
func (e *ConfigError) Unwrap() error { return e.Err }

// UnreachableError says that the daemon could not be talked to.
type UnreachableError struct {
	Addr  string
	Cause error
	Hint  string // what to do about it
}

// Error implements error; the hint is not part of it.
func (e *UnreachableError) Error() string {
	return "the builder at " + e.Addr + " cannot be reached: " + e.Cause.Error()
}

// Unwrap returns the cause.
func (e *UnreachableError) Unwrap() error { return e.Cause }

// Credentials says that the daemon is there and that one side does not take the other's certificate: other
// certificates will help, another try will not.
func (e *UnreachableError) Credentials() bool {
	var (
		authority x509.UnknownAuthorityError
		name      x509.HostnameError
		invalid   x509.CertificateInvalidError
	)
	switch grpcerrors.Code(e.Cause) {
	case codes.Unauthenticated, codes.PermissionDenied:
		return true
	}
	return errors.As(e.Cause, &authority) || errors.As(e.Cause, &name) || errors.As(e.Cause, &invalid) ||
		errors.Is(e.Cause, errServerTLS) || isAlert(e.Cause)
}

// Causes of an UnreachableError that no package names.
var (
	errNoWorkers   = errors.New("it has no worker")
	errNotHTTP2    = errors.New("what answers there is not a gRPC server")
	errServerTLS   = errors.New("it speaks TLS, and this side does not")
	errServerPlain = errors.New("it does not speak TLS")
	errHungUp      = errors.New("it closed the connection without a word")
	errTimeout     = errors.New("no answer in time")
)
