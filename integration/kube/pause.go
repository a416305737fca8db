package kube

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"runtime"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"golang.org/x/sync/errgroup"
)

// The image that holds pods together comes from a registry of the cluster's
// own, so that the requests that the test's registry records are the test's.
// Its address is not one that Reach can be asked for.
const (
	pauseAddress = "127.0.0.2:5000"
	pauseImage   = pauseAddress + "/pause:1"
)

// pauseServer is that registry; it keeps what it has in memory.
type pauseServer struct {
	server  *http.Server
	serving errgroup.Group
}

// startPauseServer starts it inside of the network, with an image that does
// nothing but sleep.
func startPauseServer(n *network, busybox string) (*pauseServer, error) {
	image, err := sleeper(busybox)
	if err != nil {
		return nil, err
	}
	listener, err := n.listen(pauseAddress)
	if err != nil {
		return nil, err
	}
	s := &pauseServer{server: &http.Server{
		Handler: registry.New(registry.Logger(log.New(io.Discard, "", 0))), ReadHeaderTimeout: time.Minute,
	}}
	s.serving.Go(func() error { return s.server.Serve(listener) })
	tag, err := name.NewTag(pauseImage, name.Insecure)
	if err != nil {
		return nil, errors.Join(err, s.close())
	}
	inside := &http.Transport{DialContext: func(_ context.Context, _, address string) (net.Conn, error) { return n.dial(address) }}
	defer inside.CloseIdleConnections()
	if err := remote.Write(tag, image, remote.WithTransport(inside)); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

// sleeper is an image that sleeps for ever.
func sleeper(busybox string) (v1.Image, error) {
	program, err := os.ReadFile(busybox)
	if err != nil {
		return nil, err
	}
	var layer bytes.Buffer
	archive := tar.NewWriter(&layer)
	header := &tar.Header{Name: "busybox", Mode: 0o755, Size: int64(len(program))}
	if err := archive.WriteHeader(header); err != nil {
		return nil, err
	}
	if _, err := archive.Write(program); err != nil {
		return nil, err
	}
	if err := archive.Close(); err != nil {
		return nil, err
	}
	content, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(layer.Bytes())), nil })
	if err != nil {
		return nil, err
	}
	image, err := mutate.AppendLayers(empty.Image, content)
	if err != nil {
		return nil, err
	}
	file, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	file = file.DeepCopy()
	file.OS, file.Architecture = runtime.GOOS, runtime.GOARCH
	file.Config.Entrypoint = []string{"/busybox", "sleep", "1000000000"}
	return mutate.ConfigFile(image, file)
}

func (s *pauseServer) close() error {
	if s == nil {
		return nil
	}
	err := s.server.Close()
	if serving := s.serving.Wait(); !errors.Is(serving, http.ErrServerClosed) {
		err = errors.Join(err, serving)
	}
	return err
}
