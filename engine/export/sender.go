package export

import (
	"context"
	"io"
	"sync"

	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/emptypb"
)

// Sender tells a client of what is made for it. It is safe for concurrent use.
type Sender struct{ conn grpc.ClientConnInterface }

// NewSender returns the sender for the session that a connection belongs to.
func NewSender(conn grpc.ClientConnInterface) *Sender { return &Sender{conn} }

// Image hands the image over and returns when the client has taken it.
func (s *Sender) Image(ctx context.Context, img Image) error {
	msg, err := encode(img)
	if err != nil {
		return err
	}
	return s.conn.Invoke(ctx, imageMethod, msg, &emptypb.Empty{})
}

// Made tells of layers that are there before the others are made, and returns when the client has taken them.
func (s *Sender) Made(ctx context.Context, made Made) error {
	msg, err := encode(made)
	if err != nil {
		return err
	}
	return s.conn.Invoke(ctx, madeMethod, msg, &emptypb.Empty{})
}

// Layer begins to tell of a layer whose bytes are appended to the file at an absolute path. Who gets it calls Grown as
// bytes are written, and then either Done or Drop. Where the client no longer listens, nothing happens: it will say why
// when it is given the image.
func (s *Sender) Layer(ctx context.Context, path string) *LayerSender {
	ctx, stop := context.WithCancel(ctx)
	l := &LayerSender{stop: stop}
	stream, err := s.conn.NewStream(ctx, &grpc.StreamDesc{StreamName: "Layer", ClientStreams: true}, layerMethod)
	if err != nil {
		stop()
		return l
	}
	l.stream = stream
	l.send(progress{Path: path})
	_, _ = stream.Header() // until the client has opened the file, which is renamed when it is whole, or does not want it
	return l
}

// LayerSender tells of one layer.
type LayerSender struct {
	stop   context.CancelFunc
	mu     sync.Mutex
	stream grpc.ClientStream // nil when nobody listens
	told   int64             // bytes
}

// step is how many bytes are told of at a time.
const step = 1 << 20

// Grown says how many bytes of the file can be read.
func (l *LayerSender) Grown(size int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if size-l.told >= step {
		l.told = size
		l.send(progress{Size: size})
	}
}

// Done says that the layer is whole.
func (l *LayerSender) Done(desc ocispecs.Descriptor) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.send(progress{Size: desc.Size, Done: &desc})
	if l.stream == nil {
		return
	}
	_ = l.stream.CloseSend() // what comes of it is the client's affair
	stream, stop := l.stream, l.stop
	l.stream = nil
	go func() { // the stream lives until the client has the layer where it goes
		_ = stream.RecvMsg(&emptypb.Empty{})
		stop()
	}()
}

// Drop says that the layer will not become whole. After Done it does nothing.
func (l *LayerSender) Drop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stream != nil {
		l.stream = nil
		l.stop()
	}
}

func (l *LayerSender) send(p progress) {
	if l.stream == nil {
		return
	}
	msg, err := encode(p)
	if err == nil {
		err = l.stream.SendMsg(msg)
	}
	if err != nil && err != io.EOF { // io.EOF: the client has ended it
		l.stop()
	}
	if err != nil {
		l.stream = nil
	}
}
