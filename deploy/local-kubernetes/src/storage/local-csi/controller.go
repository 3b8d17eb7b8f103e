package main

import (
	"context"
	"os"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func (s *server) ControllerGetCapabilities(context.Context, *csi.ControllerGetCapabilitiesRequest) (*csi.ControllerGetCapabilitiesResponse, error) {
	r := new(csi.ControllerGetCapabilitiesResponse)
	for _, t := range []csi.ControllerServiceCapability_RPC_Type{
		csi.ControllerServiceCapability_RPC_CREATE_DELETE_VOLUME,
		csi.ControllerServiceCapability_RPC_PUBLISH_UNPUBLISH_VOLUME,
		csi.ControllerServiceCapability_RPC_EXPAND_VOLUME,
		csi.ControllerServiceCapability_RPC_SINGLE_NODE_MULTI_WRITER,
	} {
		r.Capabilities = append(r.Capabilities, &csi.ControllerServiceCapability{Type: &csi.ControllerServiceCapability_Rpc{Rpc: &csi.ControllerServiceCapability_RPC{Type: t}}})
	}
	return r, nil
}

func (s *server) CreateVolume(_ context.Context, r *csi.CreateVolumeRequest) (*csi.CreateVolumeResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range r.VolumeCapabilities {
		switch c.GetAccessMode().GetMode() {
		case csi.VolumeCapability_AccessMode_MULTI_NODE_MULTI_WRITER, csi.VolumeCapability_AccessMode_MULTI_NODE_READER_ONLY, csi.VolumeCapability_AccessMode_MULTI_NODE_SINGLE_WRITER:
			return nil, status.Error(codes.InvalidArgument, "one node at a time only")
		}
		if c.GetBlock() != nil {
			return nil, status.Error(codes.InvalidArgument, "file systems only")
		}
	}
	size := max(r.GetCapacityRange().GetRequiredBytes(), 300<<20) // XFS's least
	v, err := s.load(r.Name)
	if status.Code(err) == codes.NotFound {
		v = &volume{ID: r.Name, Bytes: size}
		if err = resize(s.image(v.ID), size); err == nil {
			err = s.save(v)
		}
	}
	if err != nil {
		return nil, err
	}
	if v.Bytes < size {
		return nil, status.Error(codes.AlreadyExists, "exists with another size")
	}
	return &csi.CreateVolumeResponse{Volume: &csi.Volume{VolumeId: v.ID, CapacityBytes: v.Bytes}}, nil
}

func (s *server) DeleteVolume(_ context.Context, r *csi.DeleteVolumeRequest) (*csi.DeleteVolumeResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v, err := s.load(r.VolumeId)
	if err == nil && v.Node != "" {
		return nil, status.Errorf(codes.FailedPrecondition, "attached to %s", v.Node)
	}
	if err == nil {
		os.Remove(s.image(v.ID))
		os.Remove(s.meta(v.ID))
	}
	return new(csi.DeleteVolumeResponse), nil
}

func (s *server) ControllerPublishVolume(_ context.Context, r *csi.ControllerPublishVolumeRequest) (*csi.ControllerPublishVolumeResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v, err := s.load(r.VolumeId)
	if err != nil {
		return nil, err
	}
	if v.Node != "" && v.Node != r.NodeId {
		return nil, status.Errorf(codes.FailedPrecondition, "attached to %s", v.Node)
	}
	v.Node = r.NodeId
	return new(csi.ControllerPublishVolumeResponse), s.save(v)
}

func (s *server) ControllerUnpublishVolume(_ context.Context, r *csi.ControllerUnpublishVolumeRequest) (*csi.ControllerUnpublishVolumeResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v, err := s.load(r.VolumeId)
	if status.Code(err) == codes.NotFound {
		return new(csi.ControllerUnpublishVolumeResponse), nil
	}
	if err == nil && (r.NodeId == "" || v.Node == r.NodeId) {
		v.Node = ""
		err = s.save(v)
	}
	return new(csi.ControllerUnpublishVolumeResponse), err
}

func (s *server) ControllerExpandVolume(_ context.Context, r *csi.ControllerExpandVolumeRequest) (*csi.ControllerExpandVolumeResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v, err := s.load(r.VolumeId)
	if err != nil {
		return nil, err
	}
	if size := r.GetCapacityRange().GetRequiredBytes(); size > v.Bytes {
		if err := resize(s.image(v.ID), size); err != nil {
			return nil, err
		}
		v.Bytes = size
		if err := s.save(v); err != nil {
			return nil, err
		}
	}
	return &csi.ControllerExpandVolumeResponse{CapacityBytes: v.Bytes, NodeExpansionRequired: true}, nil
}

func (s *server) ValidateVolumeCapabilities(_ context.Context, r *csi.ValidateVolumeCapabilitiesRequest) (*csi.ValidateVolumeCapabilitiesResponse, error) {
	if _, err := s.load(r.VolumeId); err != nil {
		return nil, err
	}
	return &csi.ValidateVolumeCapabilitiesResponse{Confirmed: &csi.ValidateVolumeCapabilitiesResponse_Confirmed{VolumeCapabilities: r.VolumeCapabilities}}, nil
}
