package main

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// A volume is two files beside each other: its image and this record.  The record
// says which node may mount it, and is replaced in one step.
type volume struct {
	ID, Node string
	Bytes    int64
}

func (s *server) image(id string) string { return filepath.Join(s.dir, id+".img") }
func (s *server) meta(id string) string  { return filepath.Join(s.dir, id+".json") }

func (s *server) load(id string) (*volume, error) {
	if id == "" || strings.ContainsAny(id, "/\x00") || id[0] == '.' {
		return nil, status.Error(codes.InvalidArgument, "bad volume id")
	}
	b, err := os.ReadFile(s.meta(id))
	if errors.Is(err, os.ErrNotExist) {
		return nil, status.Errorf(codes.NotFound, "no volume %s", id)
	}
	v := new(volume)
	if err == nil {
		err = json.Unmarshal(b, v)
	}
	return v, err
}

func (s *server) save(v *volume) error {
	b, _ := json.Marshal(v)
	if err := os.WriteFile(s.meta(v.ID)+".new", b, 0o600); err != nil {
		return err
	}
	return os.Rename(s.meta(v.ID)+".new", s.meta(v.ID))
}

func resize(file string, size int64) error {
	f, err := os.OpenFile(file, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Truncate(size)
}
