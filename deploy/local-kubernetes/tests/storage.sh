grow() {
  k $A patch pvc data-db-0 --type merge -p '{"spec":{"resources":{"requests":{"storage":"640Mi"}}}}' && within 30 larger
}
larger() { [ "$(in_db size /data)" -ge 500 ]; }

holds "a volume belongs to the pod's fsGroup, and its files do" prints " 2000" in_db stat /data
holds "the group may write there, and new files keep the group" prints "dgrwxrwx" in_db stat /data
holds "a volume has the size that was asked for, not the machine's" prints 2 in_db size /data
for i in 0 1 2; do k $A exec db-$i -- /usr/bin/probe write /data/word "kept $i" >/dev/null; done
holds "what a pod writes can be read" prints "kept 0" in_db cat /data/word
holds "a volume grows while it is used" grow
