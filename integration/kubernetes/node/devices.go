package node

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	plugin "k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1"
)

// registerTimeout is how long a new kubelet may take until it takes devices.
const registerTimeout = time.Minute

// devices are what a device plugin tells a kubelet of: a number of devices of
// one resource. There is nothing behind them; a container that gets some is
// told so by one variable.
type devices struct {
	plugin.UnimplementedDevicePluginServer
	resource string
	count    int
	env      string

	server *grpc.Server
}

// forget removes what an earlier kubelet left behind, so that its socket is
// not taken for that of the next one.
func (d *devices) forget() error {
	if d.server != nil {
		d.server.Stop()
	}
	d.server = grpc.NewServer()
	plugin.RegisterDevicePluginServer(d.server, d)
	if err := os.RemoveAll(plugin.DevicePluginPath); err != nil {
		return err
	}
	return os.MkdirAll(plugin.DevicePluginPath, 0o750)
}

// offer serves the plugin and registers it with the kubelet. The kubelet empties the folder of sockets before it
// makes its own, so the plugin's comes after it.
func (d *devices) offer() {
	if err := d.register(d.server); err != nil {
		fmt.Fprintf(os.Stderr, "node: offer %s: %v\n", d.resource, err)
	}
}

func (d *devices) register(server *grpc.Server) error {
	for deadline := time.Now().Add(registerTimeout); !listens(plugin.KubeletSocket); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			return fmt.Errorf("no kubelet listens at %s", plugin.KubeletSocket)
		}
	}
	socket := strings.ReplaceAll(d.resource, "/", "_") + ".sock"
	listener, err := net.Listen("unix", filepath.Join(plugin.DevicePluginPath, socket))
	if err != nil {
		return err
	}
	go func() { _ = server.Serve(listener) }() // until forget
	kubelet, err := grpc.NewClient("unix://"+plugin.KubeletSocket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer kubelet.Close()
	ctx, cancel := context.WithTimeout(context.Background(), registerTimeout)
	defer cancel()
	_, err = plugin.NewRegistrationClient(kubelet).Register(ctx, &plugin.RegisterRequest{
		Version: plugin.Version, Endpoint: socket, ResourceName: d.resource,
	})
	return err
}

// GetDevicePluginOptions says that the plugin needs no further calls.
func (d *devices) GetDevicePluginOptions(context.Context, *plugin.Empty) (*plugin.DevicePluginOptions, error) {
	return &plugin.DevicePluginOptions{}, nil
}

// ListAndWatch lists the devices; they never change.
func (d *devices) ListAndWatch(_ *plugin.Empty, stream plugin.DevicePlugin_ListAndWatchServer) error {
	list := &plugin.ListAndWatchResponse{}
	for i := range d.count {
		list.Devices = append(list.Devices, &plugin.Device{ID: strconv.Itoa(i), Health: plugin.Healthy})
	}
	if err := stream.Send(list); err != nil {
		return err
	}
	<-stream.Context().Done()
	return nil
}

// Allocate gives containers the variable with the numbers of their devices.
func (d *devices) Allocate(_ context.Context, request *plugin.AllocateRequest) (*plugin.AllocateResponse, error) {
	answer := &plugin.AllocateResponse{}
	for _, c := range request.ContainerRequests {
		answer.ContainerResponses = append(answer.ContainerResponses, &plugin.ContainerAllocateResponse{
			Envs: map[string]string{d.env: strings.Join(c.DevicesIds, ",")},
		})
	}
	return answer, nil
}
