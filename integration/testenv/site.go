package testenv

import (
	"bytes"
	"crypto/rand"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/ibuild/ibuild/integration/authority"
	"github.com/ibuild/ibuild/integration/condachannel"
	"github.com/ibuild/ibuild/integration/testenv/aptrepo"
	"github.com/ibuild/ibuild/integration/testenv/pyindex"
)

// Site is a server of packages on loopback, which records every request. All
// sites have the same packages; they differ in what they ask of a client.
type Site struct {
	URL       string // without a slash at its end
	User      string // empty where nobody has to log in
	Password  string // new in every run, with characters that a URL must escape
	CACert    string // PEM file that a client must trust; empty for plain HTTP
	AccessLog string // file with one line per finished request

	log     *requestLog
	logFile *os.File
	server  *http.Server
	serving errgroup.Group
}

// Sites are the servers of packages of an environment.
type Sites struct {
	Open    *Site // plain HTTP, for everybody
	Private *Site // plain HTTP, for those who log in with basic authentication
	TLS     *Site // HTTPS, for those who trust an authority that nobody else knows
}

// Index is the URL of the Python package index; see package pyindex.
func (s *Site) Index() string { return s.URL + "/simple/" }

// Channel is the URL of the conda channel; see package condachannel.
func (s *Site) Channel() string { return s.URL + "/conda" }

// PixiLock is the pixi.lock of a workspace with this site's channel; see
// package condachannel.
func (s *Site) PixiLock() (string, error) {
	channel, err := condachannel.New()
	if err != nil {
		return "", err
	}
	return channel.PixiLock(s.Channel()), nil
}

// AptSource is the line of a sources.list for the Debian packages; see package
// aptrepo.
func (s *Site) AptSource() string { return "deb [trusted=yes] " + s.URL + "/apt ./" }

// WithCredentials puts user and password into one of the site's URLs.
func (s *Site) WithCredentials(address string) (string, error) {
	u, err := url.Parse(address)
	if err != nil {
		return "", err
	}
	u.User = url.UserPassword(s.User, s.Password)
	return u.String(), nil
}

// Mark returns the present end of the request log.
func (s *Site) Mark() Mark { return s.log.mark() }

// Requests returns the requests that came after the mark, oldest first; the
// zero mark gives all.
func (s *Site) Requests(since Mark) []Request { return s.log.since(since) }

// startSites makes the packages and serves them in this process. Certificates
// and logs go into dir.
func startSites(dir string, self User) (*Sites, error) {
	packages, err := packagesHandler()
	if err != nil {
		return nil, err
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		return nil, err
	}
	company, err := authority.New(filepath.Join(dir, "certs"), "company")
	if err != nil {
		return nil, err
	}
	pair, err := issue(company, "site", x509.ExtKeyUsageServerAuth, self)
	if err != nil {
		return nil, err
	}
	sites := &Sites{
		Open:    &Site{AccessLog: filepath.Join(dir, "open.log")},
		Private: &Site{AccessLog: filepath.Join(dir, "private.log"), User: "ibuild", Password: rand.Text() + "/@:%"},
		TLS:     &Site{AccessLog: filepath.Join(dir, "tls.log"), CACert: company.File},
	}
	err = errors.Join(
		sites.Open.serve(packages, authority.KeyPair{}),
		sites.Private.serve(sites.Private.loggedIn(packages), authority.KeyPair{}),
		sites.TLS.serve(packages, pair))
	if err != nil {
		return nil, errors.Join(err, sites.close())
	}
	return sites, nil
}

// issue makes a certificate whose key belongs to user.
func issue(a *authority.Authority, name string, use x509.ExtKeyUsage, user User) (authority.KeyPair, error) {
	pair, err := a.Issue(authority.Subject{Name: name}, use)
	if err != nil {
		return pair, err
	}
	return pair, user.own(pair.Key)
}

// serve listens on a port that the kernel picks, with TLS where there is a
// certificate.
func (s *Site) serve(packages http.Handler, pair authority.KeyPair) (err error) {
	if s.logFile, err = os.Create(s.AccessLog); err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	s.log = &requestLog{file: s.logFile}
	s.server = &http.Server{
		Handler: s.log.wrap(packages), ReadHeaderTimeout: time.Minute, ErrorLog: log.New(s.logFile, "server: ", 0),
	}
	s.URL = "http://" + listener.Addr().String()
	if pair.Cert != "" {
		certificate, err := tls.LoadX509KeyPair(pair.Cert, pair.Key)
		if err != nil {
			return errors.Join(err, listener.Close())
		}
		// By its name, as certificates of companies are made.
		s.URL = fmt.Sprintf("https://localhost:%d", listener.Addr().(*net.TCPAddr).Port)
		listener = tls.NewListener(listener, &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12})
	}
	s.serving.Go(func() error { return s.server.Serve(listener) })
	return nil
}

// loggedIn lets only those pass who know user and password.
func (s *Site) loggedIn(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		if user != s.User || subtle.ConstantTimeCompare([]byte(password), []byte(s.Password)) == 0 {
			w.Header().Set("WWW-Authenticate", `Basic realm="packages"`)
			http.Error(w, "log in first", http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// packagesHandler serves all packages that there are.
func packagesHandler() (http.Handler, error) {
	index, err := pyindex.New()
	if err != nil {
		return nil, err
	}
	channel, err := condachannel.New()
	if err != nil {
		return nil, err
	}
	apt, err := aptrepo.Files()
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("/simple/", index)
	mux.Handle("/files/", index)
	mux.Handle("/conda/", fileHandler("/conda/", channel.Files))
	mux.Handle("/apt/", fileHandler("/apt/", apt))
	return mux, nil
}

// fileHandler serves files by their path below a prefix.
func fileHandler(prefix string, files map[string][]byte) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		data, ok := files[strings.TrimPrefix(r.URL.Path, prefix)]
		if !ok {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/octet-stream")
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
	})
}

// Environ is what a shell can be told of the sites, as NAME=value.
func (s *Sites) Environ() []string {
	return []string{
		"IBUILD_TEST_OPEN=" + s.Open.URL,
		"IBUILD_TEST_PRIVATE=" + s.Private.URL,
		"IBUILD_TEST_PRIVATE_USER=" + s.Private.User,
		"IBUILD_TEST_PRIVATE_PASSWORD=" + s.Private.Password,
		"IBUILD_TEST_TLS=" + s.TLS.URL,
		"IBUILD_TEST_TLS_CA=" + s.TLS.CACert,
	}
}

// close stops the servers.
func (s *Sites) close() error {
	if s == nil {
		return nil
	}
	return errors.Join(s.Open.close(), s.Private.close(), s.TLS.close())
}

func (s *Site) close() error {
	var errs []error
	if s.server != nil {
		errs = append(errs, s.server.Close())
		if err := s.serving.Wait(); !errors.Is(err, http.ErrServerClosed) {
			errs = append(errs, err)
		}
	}
	if s.logFile != nil {
		errs = append(errs, s.logFile.Close())
	}
	return errors.Join(errs...)
}
