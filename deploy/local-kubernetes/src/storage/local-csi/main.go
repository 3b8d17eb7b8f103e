// Command local-csi is a small CSI driver for a cluster whose nodes share one
// machine.  A volume is a sparse file with an XFS file system in it, attached to
// one node at a time through a loop device, so size limits, expansion, attachment
// and node failure behave as with a network disk.
//
//	local-csi controller --socket FILE --dir DIR   create, attach, expand
//	local-csi node --name NODE --dir DIR           mount; registers with the kubelet
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	reg "k8s.io/kubelet/pkg/apis/pluginregistration/v1"
)

const driver = "csi.local"

type server struct {
	csi.UnimplementedIdentityServer
	csi.UnimplementedControllerServer
	csi.UnimplementedNodeServer
	reg.UnimplementedRegistrationServer
	mu       sync.Mutex
	dir      string
	node     string
	endpoint string
}

// Registration with the kubelet.

func (s *server) GetInfo(context.Context, *reg.InfoRequest) (*reg.PluginInfo, error) {
	return &reg.PluginInfo{Type: reg.CSIPlugin, Name: driver, Endpoint: s.endpoint, SupportedVersions: []string{"1.0.0"}}, nil
}

func (s *server) NotifyRegistrationStatus(_ context.Context, r *reg.RegistrationStatus) (*reg.RegistrationStatusResponse, error) {
	log.Println("registered:", r.PluginRegistered, r.Error)
	return new(reg.RegistrationStatusResponse), nil
}

func listen(path string) net.Listener {
	os.MkdirAll(filepath.Dir(path), 0o750)
	os.Remove(path)
	l, err := net.Listen("unix", path)
	if err != nil {
		log.Fatal(err)
	}
	return l
}

func logged(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	r, err := next(ctx, req)
	if m := filepath.Base(info.FullMethod); err != nil || !(m == "Probe" || strings.Contains(m, "Get")) {
		log.Println(m, fmt.Sprint(req), "error:", err)
	}
	return r, err
}

func main() {
	if len(os.Args) < 2 {
		log.Fatal("usage: local-csi controller|node [flags]")
	}
	f := flag.NewFlagSet("local-csi", flag.ExitOnError)
	socket := f.String("socket", "", "controller: socket to listen on")
	dir := f.String("dir", "", "where volumes are kept")
	name := f.String("name", "", "node: name of this node")
	f.Parse(os.Args[2:])
	if err := os.MkdirAll(*dir, 0o700); err != nil {
		log.Fatal(err)
	}
	s := &server{dir: *dir, node: *name}
	g := grpc.NewServer(grpc.UnaryInterceptor(logged))
	csi.RegisterIdentityServer(g, s)
	switch os.Args[1] {
	case "controller":
		csi.RegisterControllerServer(g, s)
		log.Fatal(g.Serve(listen(*socket)))
	case "node":
		csi.RegisterNodeServer(g, s)
		s.endpoint = "/var/lib/kubelet/plugins/" + driver + "/csi.sock"
		l := listen(s.endpoint)
		r := grpc.NewServer()
		reg.RegisterRegistrationServer(r, s)
		go func() { log.Fatal(r.Serve(listen("/var/lib/kubelet/plugins_registry/" + driver + "-reg.sock"))) }()
		log.Fatal(g.Serve(l))
	}
}
