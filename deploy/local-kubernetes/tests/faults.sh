node_condition() { k $A get node "$1" -o jsonpath='{.status.conditions[?(@.type=="Ready")].status}'; }
is() { [ "$(node_condition "$1")" = "$2" ]; }
pod_on() { k $A get pod -l app=db -o jsonpath="{.items[?(@.spec.nodeName==\"$1\")].metadata.name}"; }
word_is_kept() { prints "kept ${1#db-}" k $A exec "$1" -- /usr/bin/probe cat /data/word; }
unreachable() { ! lk $A exec curl -sS --max-time 1 -o /dev/null "http://$1:8080/"; }
reachable() { ! unreachable "$1"; }
two_are_lost() { is node2 Unknown && is node3 Unknown; }

frozen=$(pod_ip "$(pod_on node1)")
lk $A node freeze 1
holds "a frozen node does not answer" unreachable "$frozen"
holds "status shows the frozen node" prints frozen lk $A status
lk $A node thaw 1
holds "a thawed node resumes" within 10 reachable "$frozen"

crashed=$(pod_on node2) cut=$(pod_on node3) cut_ip=$(pod_ip "$(pod_on node3)")
lk $A node crash 2
lk $A node partition 3
holds "a partitioned node is unreachable" unreachable "$cut_ip"
holds "status shows which node is off and which is partitioned" prints partitioned lk $A status
holds "Services are reachable while nodes are down" prints probe lk $A exec curl -sS --retry 9 --retry-all-errors --max-time 2 "http://$(k $A get service web -o jsonpath='{.spec.clusterIP}')/"
holds "both are NotReady within 30 s" within 30 two_are_lost
lk $A node start 2
lk $A node heal 3
holds "the crashed node is Ready again within 30 s of its start" within 30 is node2 True
holds "the partitioned node is Ready again within 30 s of its return" within 30 is node3 True
holds "the pod of the crashed node runs again with its data" within 40 word_is_kept "$crashed"
holds "the pod of the partitioned node has its data" within 40 word_is_kept "$cut"
