package export

import (
	"context"
	"errors"
	"os"

	"github.com/moby/buildkit/session"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// Receiver takes over what the in-process BuildKit makes. Its methods are called concurrently.
type Receiver interface {
	// Made is told of layers that are there, and returns when it has brought them where they go. What fails will be
	// tried again with the whole image.
	Made(ctx context.Context, made Made)
	// Layer is told of a layer from its first byte on, and returns when it has brought it where it goes, or when it no
	// longer wants it. The context ends when the layer will not become whole, or when the build ends.
	Layer(ctx context.Context, l *Layer)
	// Image is told of the image when all of it is made; it may be called while other calls are on their way. Its
	// error ends the build.
	Image(ctx context.Context, img Image) error
}

// Attach returns what a build's session needs for BuildKit to find the receiver.
func Attach(r Receiver) session.Attachable { return attachable{r} }

type attachable struct{ receiver Receiver }

// Register adds the service to the session's.
func (a attachable) Register(s *grpc.Server) { s.RegisterService(service(), a.receiver) }

// Supported says whether the client at the other end of a session takes images over.
func Supported(c session.Caller) bool { return c.Supports(imageMethod) }

func handleImage(srv any, ctx context.Context, dec func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
	var msg wrapperspb.BytesValue
	var img Image
	if err := dec(&msg); err != nil {
		return nil, err
	}
	if err := decode(&msg, &img); err != nil {
		return nil, err
	}
	return &emptypb.Empty{}, srv.(Receiver).Image(ctx, img)
}

func handleMade(srv any, ctx context.Context, dec func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
	var msg wrapperspb.BytesValue
	var made Made
	if err := dec(&msg); err != nil {
		return nil, err
	}
	if err := decode(&msg, &made); err != nil {
		return nil, err
	}
	srv.(Receiver).Made(ctx, made)
	return &emptypb.Empty{}, nil
}

func handleLayer(srv any, stream grpc.ServerStream) error {
	first, err := receive(stream)
	if err != nil {
		return err
	}
	file, err := os.Open(first.Path)
	if err != nil {
		return err
	}
	defer file.Close()
	if err := stream.SendHeader(nil); err != nil { // the file may be renamed now
		return err
	}
	l := newLayer(file)
	ctx, stop := context.WithCancel(stream.Context())
	defer stop()
	go func() {
		defer stop()
		l.follow(func() (progress, error) { return receive(stream) })
		if l.whole() {
			<-stream.Context().Done() // until the receiver is done with it
		}
	}()
	srv.(Receiver).Layer(ctx, l)
	return stream.SendMsg(&emptypb.Empty{})
}

func receive(stream grpc.ServerStream) (p progress, err error) {
	var msg wrapperspb.BytesValue
	if err := stream.RecvMsg(&msg); err != nil {
		return p, err
	}
	return p, decode(&msg, &p)
}

// ErrDropped says that a layer will not become whole.
var ErrDropped = errors.New("the layer was not finished")

// follow takes messages until the layer is whole or given up.
func (l *Layer) follow(next func() (progress, error)) {
	for {
		p, err := next()
		switch {
		case err != nil:
			l.end(ErrDropped)
			return
		case p.Done != nil:
			l.done(*p.Done)
			return
		}
		l.grown(p.Size)
	}
}
