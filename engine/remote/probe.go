package remote

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/moby/buildkit/util/grpcerrors"
	"google.golang.org/grpc/codes"
)

// probe makes a connection by hand, far enough to see an HTTP/2 server's first
// frame, because gRPC retries what it cannot explain.
func (b *Builder) probe(ctx context.Context) error {
	conn, err := b.target.dial(ctx)
	if err != nil {
		return b.unreachable(err, dialHint(b.target, err))
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	_ = conn.SetDeadline(time.Now().Add(b.target.timeout))
	if b.tls != nil {
		secured := tls.Client(conn, b.tls.Clone())
		if err := secured.HandshakeContext(ctx); err != nil {
			return b.handshakeError(err)
		}
		conn = secured
	}
	if err := greet(conn); err != nil {
		return b.greetingError(err)
	}
	return nil
}

// greet sends what every HTTP/2 client begins with, an empty SETTINGS frame after
// the preface, and checks that a SETTINGS frame comes back.
func greet(conn net.Conn) error {
	const (
		frameHeader   = 9
		frameSettings = 4
		tlsAlert      = 0x15
	)
	hello := "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + "\x00\x00\x00\x04\x00\x00\x00\x00\x00"
	_, writeErr := io.WriteString(conn, hello)
	var b [frameHeader]byte
	n, err := io.ReadFull(conn, b[:])
	switch {
	case n >= 2 && b[0] == tlsAlert && b[1] == 3: // an alert of any version of TLS
		return errServerTLS
	case n == frameHeader && b[3] == frameSettings:
		return nil
	case n > 0:
		return errNotHTTP2
	case errors.Is(err, io.EOF) && writeErr == nil:
		return errHungUp
	case err == nil:
		return writeErr
	}
	return err
}

func (b *Builder) unreachable(cause error, hint string) error {
	if isTimeout(cause) {
		cause = fmt.Errorf("%w (%v)", errTimeout, b.target.timeout)
	}
	return &UnreachableError{Addr: b.target.addr, Cause: cause, Hint: hint}
}

func isTimeout(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}

func dialHint(t target, err error) string {
	var dns *net.DNSError
	switch {
	case errors.As(err, &dns):
		return "The host name is not known here: check it, and the network or VPN."
	case errors.Is(err, os.ErrPermission) && t.network == "unix":
		return "This user may not use the socket: check its owner and group."
	case errors.Is(err, os.ErrNotExist):
		return "There is no such socket: is buildkitd running, and with this --addr?"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "Nobody listens there: is buildkitd running, and with this --addr?"
	case isTimeout(err):
		return "Nothing answers at this address: check it, and firewalls and the VPN in between."
	}
	return "Check the address and the network."
}

// handshakeError explains a TLS handshake that failed on this side.
func (b *Builder) handshakeError(err error) error {
	var (
		plain     tls.RecordHeaderError
		authority x509.UnknownAuthorityError
		name      x509.HostnameError
		invalid   x509.CertificateInvalidError
	)
	switch {
	case errors.As(err, &plain):
		return b.unreachable(errServerPlain, "Leave the certificates out, or start buildkitd with --tlscert, --tlskey and --tlscacert.")
	case errors.As(err, &authority):
		return b.unreachable(err, "The server's certificate is not trusted: give the CA certificate that signed it.")
	case errors.As(err, &name):
		return b.unreachable(err, "The server's certificate is for another name: give that as the server name, or connect by it.")
	case errors.As(err, &invalid):
		return b.unreachable(err, "The server's certificate is not valid now: renew it, and check the clocks.")
	case isAlert(err):
		return b.clientRefused(err)
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET):
		return b.unreachable(errHungUp, "It may not speak TLS, or something in between cuts the connection.")
	case isTimeout(err):
		return b.unreachable(err, "It took the connection but does not answer in TLS: does buildkitd speak TLS on this port?")
	}
	return b.unreachable(err, "Check the certificates of both sides.")
}

// greetingError explains why there was no HTTP/2 after a connection. With TLS 1.3
// the server's judgement of the client's certificate arrives only here.
func (b *Builder) greetingError(err error) error {
	switch {
	case errors.Is(err, errServerTLS):
		return b.unreachable(err, "Give the CA certificate, and the client's certificate and key.")
	case isAlert(err):
		return b.clientRefused(err)
	case errors.Is(err, errHungUp), errors.Is(err, syscall.ECONNRESET):
		if b.tls == nil {
			return b.unreachable(errHungUp, "It may want TLS: give the CA certificate, and the client's certificate and key.")
		}
		return b.unreachable(errHungUp, "It may refuse the client's certificate; look at its log.")
	case errors.Is(err, errNotHTTP2):
		return b.unreachable(err, "Check the address and the port: buildkitd's usual port is 1234.")
	case isTimeout(err):
		return b.unreachable(err, "It took the connection but says nothing: is this buildkitd's port?")
	}
	return b.unreachable(err, "Check the address and the network.")
}

func (b *Builder) clientRefused(err error) error {
	hint := "The server refuses the client's certificate: it has to be signed by the CA that buildkitd has as --tlscacert, and be valid now."
	if len(b.tls.Certificates) == 0 {
		hint = "The server wants a certificate of the client: give one with its key."
	}
	return b.unreachable(err, hint)
}

// isAlert says that the other side ended TLS, and said why.
func isAlert(err error) bool {
	var alert tls.AlertError
	return errors.As(err, &alert) || strings.Contains(err.Error(), "remote error: tls:")
}

// answerError explains why a server that speaks HTTP/2 gave no workers.
func (b *Builder) answerError(err error) error {
	switch grpcerrors.Code(err) {
	case codes.Unimplemented:
		return b.unreachable(err, "This is a gRPC server, but not buildkitd: check the address and the port.")
	case codes.DeadlineExceeded:
		return b.unreachable(fmt.Errorf("%w (%v)", errTimeout, b.target.timeout), "The daemon is there but does not answer: it may be overloaded or starting.")
	case codes.Unauthenticated, codes.PermissionDenied:
		return b.unreachable(err, "The daemon, or a proxy in front of it, does not let this client in.")
	}
	return b.unreachable(err, "The daemon answers with an error: look at its log.")
}
