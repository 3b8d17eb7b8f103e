three_ready() { [ "$(k $A get nodes --no-headers | grep -c ' Ready')" = 3 ]; }
workload() {
  k $A apply -f "$HERE/workload.yaml" && k $A rollout status deployment/web --timeout 60s && k $A rollout status statefulset/db --timeout 60s
}

must_hold "a cluster of three nodes comes up" lk $A up --nodes 3
holds "its three nodes are Ready at once" three_ready
holds "status reports that everything is running" lk $A status
must_hold "a Deployment and a StatefulSet with volumes become ready" workload
holds "repeating 'up' changes nothing and is quick" lk $A up
holds "'up --nodes 2' does not remove nodes" fails lk $A up --nodes 2
