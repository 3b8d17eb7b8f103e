package main

import (
	"encoding/json"
	"reflect"
	"testing"
)

const list = `{"items": [
	{"metadata": {"name": "team-0", "namespace": "chat", "labels": {"app.kubernetes.io/name": "quorate"}},
	 "spec": {"containers": [{"ports": [{"name": "http", "containerPort": 8008}, {"name": "metrics", "containerPort": 9400}]}]},
	 "status": {"podIP": "10.0.0.1", "phase": "Running"}},
	{"metadata": {"name": "team-1", "namespace": "chat"}, "spec": {"containers": [{"ports": [{"containerPort": 1}]}]},
	 "status": {"phase": "Pending"}}]}`

func TestEachPortOfAPodWithAnAddressIsATargetWithTheLabelsOfKubernetesSd(t *testing.T) {
	var pods podList
	if err := json.Unmarshal([]byte(list), &pods); err != nil {
		t.Fatal(err)
	}
	found := groups(pods)
	if len(found) != 2 {
		t.Fatalf("two ports, one pod with an address: %v", found)
	}
	wanted := group{Targets: []string{"10.0.0.1:9400"}, Labels: map[string]string{
		"__meta_kubernetes_namespace":                        "chat",
		"__meta_kubernetes_pod_name":                         "team-0",
		"__meta_kubernetes_pod_phase":                        "Running",
		"__meta_kubernetes_pod_container_port_name":          "metrics",
		"__meta_kubernetes_pod_label_app_kubernetes_io_name": "quorate",
	}}
	if !reflect.DeepEqual(found[1], wanted) {
		t.Fatalf("%v is not %v", found[1], wanted)
	}
}

func TestNoPodsAreAnEmptyListAndNotNull(t *testing.T) {
	text, err := json.Marshal(groups(podList{}))
	if err != nil || string(text) != "[]" {
		t.Fatalf("%s, %v", text, err)
	}
}
