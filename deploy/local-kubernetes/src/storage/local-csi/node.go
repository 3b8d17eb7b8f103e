package main

import (
	"context"
	"os"
	"os/exec"
	"strings"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func run(name string, args ...string) (string, error) {
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		return "", status.Errorf(codes.Internal, "%s %v: %v: %s", name, args, err, out)
	}
	return strings.TrimSpace(string(out)), nil
}

func mounted(path string) bool { return exec.Command("mountpoint", "-q", path).Run() == nil }

func (s *server) NodeGetInfo(context.Context, *csi.NodeGetInfoRequest) (*csi.NodeGetInfoResponse, error) {
	return &csi.NodeGetInfoResponse{NodeId: s.node, MaxVolumesPerNode: 64}, nil
}

func (s *server) NodeGetCapabilities(context.Context, *csi.NodeGetCapabilitiesRequest) (*csi.NodeGetCapabilitiesResponse, error) {
	r := new(csi.NodeGetCapabilitiesResponse)
	for _, t := range []csi.NodeServiceCapability_RPC_Type{
		csi.NodeServiceCapability_RPC_STAGE_UNSTAGE_VOLUME,
		csi.NodeServiceCapability_RPC_EXPAND_VOLUME,
		csi.NodeServiceCapability_RPC_SINGLE_NODE_MULTI_WRITER,
	} {
		r.Capabilities = append(r.Capabilities, &csi.NodeServiceCapability{Type: &csi.NodeServiceCapability_Rpc{Rpc: &csi.NodeServiceCapability_RPC{Type: t}}})
	}
	return r, nil
}

func (s *server) NodeStageVolume(_ context.Context, r *csi.NodeStageVolumeRequest) (*csi.NodeStageVolumeResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v, err := s.load(r.VolumeId)
	if err != nil {
		return nil, err
	}
	if v.Node != s.node { // the disk's own fence
		return nil, status.Errorf(codes.FailedPrecondition, "attached to %q, not %q", v.Node, s.node)
	}
	if mounted(r.StagingTargetPath) {
		return new(csi.NodeStageVolumeResponse), nil
	}
	if exec.Command("blkid", "-p", s.image(v.ID)).Run() != nil {
		if _, err := run("mkfs.xfs", "-q", s.image(v.ID)); err != nil {
			return nil, err
		}
	}
	if err := os.MkdirAll(r.StagingTargetPath, 0o750); err != nil {
		return nil, err
	}
	if _, err := run("mount", "-o", "loop", s.image(v.ID), r.StagingTargetPath); err != nil {
		return nil, err
	}
	return new(csi.NodeStageVolumeResponse), grow(r.StagingTargetPath)
}

// grow makes the mounted file system as large as its image.
func grow(path string) error {
	dev, err := run("findmnt", "-n", "-o", "SOURCE", "--target", path)
	if err == nil {
		dev, _, _ = strings.Cut(dev, "[")
		_, err = run("losetup", "-c", dev)
	}
	if err == nil {
		_, err = run("xfs_growfs", path) // ext4's online resize would need CAP_SYS_RESOURCE
	}
	return err
}

func (s *server) NodeUnstageVolume(_ context.Context, r *csi.NodeUnstageVolumeRequest) (*csi.NodeUnstageVolumeResponse, error) {
	return new(csi.NodeUnstageVolumeResponse), unmount(r.StagingTargetPath)
}

func unmount(path string) error {
	for mounted(path) {
		if _, err := run("umount", path); err != nil {
			return err
		}
	}
	return nil
}

func (s *server) NodePublishVolume(_ context.Context, r *csi.NodePublishVolumeRequest) (*csi.NodePublishVolumeResponse, error) {
	if mounted(r.TargetPath) {
		return new(csi.NodePublishVolumeResponse), nil
	}
	if err := os.MkdirAll(r.TargetPath, 0o750); err != nil {
		return nil, err
	}
	_, err := run("mount", "--bind", r.StagingTargetPath, r.TargetPath)
	if err == nil && r.Readonly {
		_, err = run("mount", "-o", "remount,ro,bind", r.TargetPath)
	}
	return new(csi.NodePublishVolumeResponse), err
}

func (s *server) NodeUnpublishVolume(_ context.Context, r *csi.NodeUnpublishVolumeRequest) (*csi.NodeUnpublishVolumeResponse, error) {
	if err := unmount(r.TargetPath); err != nil {
		return nil, err
	}
	os.Remove(r.TargetPath)
	return new(csi.NodeUnpublishVolumeResponse), nil
}

func (s *server) NodeExpandVolume(_ context.Context, r *csi.NodeExpandVolumeRequest) (*csi.NodeExpandVolumeResponse, error) {
	return &csi.NodeExpandVolumeResponse{CapacityBytes: r.GetCapacityRange().GetRequiredBytes()}, grow(r.VolumePath)
}
