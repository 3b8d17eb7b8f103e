in_db() { k $A exec db-0 -- /usr/bin/probe "$@"; }
service_reaches_all_nodes() {
  local n=0 i
  for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16; do in_db get http://web/ & done >"$work/answers" 2>&1
  wait
  n=$(sort -u "$work/answers" | grep -c '^probe web')
  [ "$n" = 3 ] || { echo "answers from $n pods"; cat "$work/answers"; return 1; }
}
pod_ip() { k $A get pod "$1" -o jsonpath='{.status.podIP}'; }
machine_resolves() { lk $A exec curl -sS --max-time 5 http://web/ && lk $A exec curl -sS --max-time 5 http://db-1.db.default.svc.cluster.local:8080/; }
exec_is_the_program() {
  "$LK" exec --name $A -- sleep 60 &
  local pid=$!
  is_sleep() { [ "$(cat /proc/$pid/comm)" = sleep ]; }
  within 10 is_sleep && kill $pid && ! wait $pid
}
machine_reaches() {
  lk $A exec curl -sS --max-time 5 "http://$(pod_ip db-1):8080/" && lk $A exec curl -sS --max-time 5 "http://$(k $A get service web -o jsonpath='{.spec.clusterIP}')/"
}
port_forward() {
  k $A port-forward service/web :80 >"$work/forward" 2>&1 &
  local pid=$! rc=0 port
  port_known() { port=$(grep -om1 '127.0.0.1:[0-9]*' "$work/forward"); }
  within 10 port_known && prints "probe web" curl -sS --max-time 5 "http://$port/" || rc=1
  kill $pid; wait $pid 2>/dev/null
  return $rc
}
forwards() {
  lk $A forward 6481 web.default:80 && prints "probe web" curl -sS --max-time 5 http://127.0.0.1:6481/ || return 1
  # Repeating it changes nothing; another target replaces the first.
  lk $A forward 6481 web.default:80 && lk $A forward 6481 db-1.db.default:8080 && prints "db-1" curl -sS --max-time 5 http://127.0.0.1:6481/
}
web_pod() { k $A get pod -l app=web -o name | head -1; }
from_web() { k $A exec "$(web_pod)" -- /usr/bin/probe get "http://$(pod_ip db-1):8080/"; }
denied() { ! from_web; }

holds "a pod resolves a Service" in_db lookup web
holds "a pod resolves another pod of its StatefulSet" in_db lookup db-2.db.default.svc.cluster.local
holds "a pod resolves the API server" in_db lookup kubernetes.default
holds "a Service balances over pods on all three nodes" service_reaches_all_nodes
holds "a program of the machine reaches pods and Services through 'exec'" machine_reaches
holds "a program of the machine reaches them by name" machine_resolves
holds "the process of 'exec' becomes the program" exec_is_the_program
holds "logs of a pod can be read" prints "serving on :8080 as db-0" k $A logs db-0
holds "port-forward reaches a Service" port_forward
holds "'forward' makes a Service available on a port of the machine" forwards
holds "a pod reaches another one while there is no NetworkPolicy" from_web
k $A apply -f "$HERE/policy.yaml" >/dev/null
holds "a NetworkPolicy blocks it" within 10 denied
holds "the NetworkPolicy admits the pods that it selects" in_db get http://db-1.db:8080/
k $A delete -f "$HERE/policy.yaml" >/dev/null
