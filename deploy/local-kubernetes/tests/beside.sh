# A second cluster, whose first start is killed halfway.
killed_half_way() {
  lk $B up --nodes 1 --proxy-mode iptables >"$work/half" 2>&1 &
  local pid=$!
  within 20 grep -q 'processes started' "$work/half"
  kill -KILL $pid
  wait $pid 2>/dev/null
  [ $? = 137 ]
}
runs_pods() {
  k $B create deployment beside --image localhost/probe:1 && k $B rollout status deployment/beside --timeout 60s \
    && k $B expose deployment beside --port 80 --target-port 8080 && within 10 answers
}
answers() { lk $B exec curl -sS --max-time 2 "http://$(k $B get service beside -o jsonpath='{.spec.clusterIP}')/"; }
lose_network() { kill -KILL "$(cut -d' ' -f1 "$HOME_DIR/clusters/$B/pids/network")"; within 5 fails lk $B status && lk $B up; }

holds "an 'up' can be killed halfway" killed_half_way
holds "another 'up' completes it, next to the first cluster" lk $B up
holds "the second cluster runs pods and has Services with iptables" runs_pods
holds "the first cluster is unchanged" three_ready
holds "'up' repairs a cluster that lost its network" lose_network
holds "a port in use is refused" prints "in use" lk selftest-c up --port "$(sed -E 's/.*PORT=([0-9]+).*/\1/' "$HOME_DIR/clusters/$B/settings")"
holds "the second cluster is removed" lk $B down
holds "the first cluster is still running" three_ready
