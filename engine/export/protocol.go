package export

import (
	"encoding/json"

	"github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// AttrHandOff is the attribute of BuildKit's exporter of images that asks for the image to be handed over. Its value
// does not matter. Only the in-process BuildKit knows it.
const AttrHandOff = "ibuild.hand-off"

// Image is all that makes up an image which is complete.
type Image struct {
	// Root is its manifest or index.
	Root ocispecs.Descriptor `json:"root"`
	// Blobs is the absolute path of a folder with blobs, by algorithm and digits: sha256/0123… Its files do not change,
	// and stay at least until the receiver has returned. Layers of base images may be missing in it.
	Blobs string `json:"blobs"`
	// Sources say, by the digest of a layer, which repositories it came from: host and path, without the host's port,
	// as containerd notes them.
	Sources map[digest.Digest][]string `json:"sources,omitempty"`
}

// Made are layers of an image that is not complete.
type Made struct {
	Layers  []ocispecs.Descriptor      `json:"layers"`
	Blobs   string                     `json:"blobs"` // see Image
	Sources map[digest.Digest][]string `json:"sources,omitempty"`
}

// progress is one message about a layer. The first one has the path, the last one the descriptor.
type progress struct {
	Path string               `json:"path,omitempty"` // absolute
	Size int64                `json:"size"`           // bytes that can be read by now
	Done *ocispecs.Descriptor `json:"done,omitempty"`
}

const (
	serviceName = "ibuild.export.v1.Export"
	layerMethod = "/" + serviceName + "/Layer"
	madeMethod  = "/" + serviceName + "/Made"
	imageMethod = "/" + serviceName + "/Image"
)

// service is what protoc would make of a stream of messages about a layer and of calls with a message. Messages are
// JSON in the type that protobuf has for bytes: both ends are one program, and nobody else speaks this.
func service() *grpc.ServiceDesc {
	return &grpc.ServiceDesc{
		ServiceName: serviceName,
		HandlerType: (*any)(nil),
		Streams:     []grpc.StreamDesc{{StreamName: "Layer", ClientStreams: true, Handler: handleLayer}},
		Methods:     []grpc.MethodDesc{{MethodName: "Made", Handler: handleMade}, {MethodName: "Image", Handler: handleImage}},
	}
}

func encode(v any) (*wrapperspb.BytesValue, error) {
	data, err := json.Marshal(v)
	return wrapperspb.Bytes(data), err
}

func decode(m *wrapperspb.BytesValue, v any) error { return json.Unmarshal(m.GetValue(), v) }
