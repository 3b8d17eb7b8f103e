grow() {
  k $A patch pvc data-db-0 --type merge -p '{"spec":{"resources":{"requests":{"storage":"640Mi"}}}}' && within 30 larger
}
larger() { size_between 500 640; }
# The XFS log, up to 64 MiB, reduces the size of the volume.
size_between() { local mib; mib=$(in_db size /data) && [ "$mib" -ge "$1" ] && [ "$mib" -le "$2" ] || { echo "it has $mib MiB"; return 1; }; }

holds "a volume and its files belong to the pod's fsGroup" prints " 2000" in_db stat /data
holds "the group may write to the volume, and new files inherit the group" prints "dgrwxrwx" in_db stat /data
holds "a volume has about the requested size, not that of the machine's disk" size_between 200 320
for i in 0 1 2; do k $A exec db-$i -- /usr/bin/probe write /data/word "kept $i" >/dev/null; done
holds "what a pod writes can be read" prints "kept 0" in_db cat /data/word
holds "a volume grows while in use" grow
