package export

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"
)

// taker is a receiver made of functions; nil ones do nothing.
type taker struct {
	layer func(context.Context, *Layer)
	image func(context.Context, Image) error
	made  func(context.Context, Made)
}

func (t taker) Made(ctx context.Context, m Made) {
	if t.made != nil {
		t.made(ctx, m)
	}
}

func (t taker) Layer(ctx context.Context, l *Layer) {
	if t.layer != nil {
		t.layer(ctx, l)
	}
}

func (t taker) Image(ctx context.Context, img Image) error {
	if t.image != nil {
		return t.image(ctx, img)
	}
	return nil
}

// connected returns a sender whose receiver is r.
func connected(t *testing.T, r Receiver) *Sender {
	t.Helper()
	l := bufconn.Listen(1 << 16)
	s := grpc.NewServer()
	Attach(r).Register(s)
	go func() { _ = s.Serve(l) }()
	t.Cleanup(s.Stop)
	conn, err := grpc.NewClient("passthrough:///x", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return l.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return NewSender(conn)
}

// writing is a layer's file that a test appends to.
type writing struct {
	t    *testing.T
	file *os.File
	size int64
}

func newWriting(t *testing.T) *writing {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "data"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return &writing{t: t, file: f}
}

func (w *writing) add(s *LayerSender, data []byte) {
	w.t.Helper()
	if _, err := w.file.Write(data); err != nil {
		w.t.Fatal(err)
	}
	w.size += int64(len(data))
	s.Grown(w.size)
}

func patient(t *testing.T) context.Context {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(stop)
	return ctx
}

// TestLayerIsReadWhileItGrows: a reader has what is written before the layer is whole, also when the file has moved
// meanwhile, as it does when it is committed; one that begins later, at an offset, has the rest.
func TestLayerIsReadWhileItGrows(t *testing.T) {
	var whole, rest bytes.Buffer
	var desc ocispecs.Descriptor
	half := make(chan struct{})
	done := make(chan error, 1)
	s := connected(t, taker{layer: func(ctx context.Context, l *Layer) {
		done <- func() error {
			if more, err := l.Reached(ctx, 2*step-1); err != nil || !more {
				return errors.New("the first half did not come")
			}
			r, err := l.Open(0)
			if err != nil {
				return err
			}
			defer r.Close()
			if _, err := io.CopyN(&whole, r, 2*step); err != nil {
				return err
			}
			close(half)
			if _, err := io.Copy(&whole, r); err != nil {
				return err
			}
			later, err := l.Open(3 * step)
			if err != nil {
				return err
			}
			defer later.Close()
			if _, err := io.Copy(&rest, later); err != nil {
				return err
			}
			if more, err := l.Reached(ctx, 1<<40); more || err != nil {
				return errors.New("a whole layer has more")
			}
			desc, err = l.Done(ctx)
			return err
		}()
	}})
	w := newWriting(t)
	data := bytes.Repeat([]byte("0123456789abcde\n"), 4*step/16)
	l := s.Layer(patient(t), w.file.Name())
	w.add(l, data[:2*step])
	select {
	case <-half:
	case err := <-done:
		t.Fatal(err)
	}
	w.add(l, data[2*step:])
	if err := os.Rename(w.file.Name(), w.file.Name()+".committed"); err != nil {
		t.Fatal(err)
	}
	want := ocispecs.Descriptor{MediaType: "x/y", Digest: digest.FromBytes(data), Size: int64(len(data))}
	l.Done(want)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(whole.Bytes(), data) || !bytes.Equal(rest.Bytes(), data[3*step:]) || desc.Digest != want.Digest || desc.Size != want.Size {
		t.Errorf("got %d and %d bytes, %v", whole.Len(), rest.Len(), desc)
	}
}

// TestLayerIsDropped: whoever waits for more of a layer that is given up gets an error, and not its end.
func TestLayerIsDropped(t *testing.T) {
	for name, wait := range map[string]func(context.Context, *Layer) error{
		"read": func(_ context.Context, l *Layer) error {
			r, err := l.Open(0)
			if err == nil {
				_, err = io.Copy(io.Discard, r)
			}
			return err
		},
		"reached": func(ctx context.Context, l *Layer) error { _, err := l.Reached(ctx, 1<<30); return err },
		"done":    func(ctx context.Context, l *Layer) error { _, err := l.Done(ctx); return err },
	} {
		t.Run(name, func(t *testing.T) {
			got := make(chan error, 1)
			s := connected(t, taker{layer: func(_ context.Context, l *Layer) { got <- wait(context.Background(), l) }})
			w := newWriting(t)
			l := s.Layer(patient(t), w.file.Name())
			w.add(l, make([]byte, step))
			l.Drop()
			l.Drop()
			if err := <-got; !errors.Is(err, ErrDropped) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// TestClosedReader: a read that waits ends when its reader is closed.
func TestClosedReader(t *testing.T) {
	l := newLayer(nil)
	r, err := l.Open(0)
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan error, 1)
	go func() { _, err := r.Read(make([]byte, 1)); got <- err }()
	r.Close()
	r.Close()
	if err := <-got; !errors.Is(err, os.ErrClosed) {
		t.Errorf("got %v", err)
	}
}

// TestFileIsShorter: a file that does not have what was said of it is an error.
func TestFileIsShorter(t *testing.T) {
	w := newWriting(t)
	l := newLayer(w.file)
	l.done(ocispecs.Descriptor{Size: 10})
	r, err := l.Open(0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(r); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("got %v", err)
	}
}

// TestNobodyListens: whoever makes layers is not stopped by a client that has gone, or that never was there.
func TestNobodyListens(t *testing.T) {
	s := connected(t, taker{}) // returns at once
	w := newWriting(t)
	l := s.Layer(patient(t), w.file.Name())
	for range 50 {
		w.add(l, make([]byte, step))
	}
	l.Done(ocispecs.Descriptor{})
	missing := s.Layer(patient(t), filepath.Join(t.TempDir(), "nothing"))
	missing.Grown(1 << 30)
	missing.Done(ocispecs.Descriptor{})
}

func TestImageAndMade(t *testing.T) {
	var mu sync.Mutex
	var images []Image
	var made []Made
	refused := errors.New("the registry is full")
	s := connected(t, taker{
		image: func(_ context.Context, img Image) error {
			mu.Lock()
			defer mu.Unlock()
			images = append(images, img)
			if len(images) > 1 {
				return refused
			}
			return nil
		},
		made: func(_ context.Context, m Made) {
			mu.Lock()
			defer mu.Unlock()
			made = append(made, m)
		},
	})
	d := digest.FromString("x")
	img := Image{Root: ocispecs.Descriptor{Digest: d, Size: 3}, Blobs: "/b", Sources: map[digest.Digest][]string{d: {"h/r"}}}
	if err := s.Image(patient(t), img); err != nil {
		t.Fatal(err)
	}
	if err := s.Image(patient(t), img); err == nil || !bytes.Contains([]byte(err.Error()), []byte(refused.Error())) {
		t.Errorf("got %v", err)
	}
	if err := s.Made(patient(t), Made{Layers: []ocispecs.Descriptor{img.Root}, Blobs: "/b"}); err != nil {
		t.Fatal(err)
	}
	if len(images) != 2 || images[0].Sources[d][0] != "h/r" || images[0].Root.Digest != d || len(made) != 1 || made[0].Layers[0].Digest != d {
		t.Errorf("got %v and %v", images, made)
	}
}
