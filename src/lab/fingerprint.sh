# Prints what a booted machine is, section by section: "== name", then lines in a fixed order.
# Everything here must be the same on every boot of one image.
set -u
export LC_ALL=C.UTF-8
section() { echo "== $1"; }
# systemd may be too busy to answer in an emulated guest that has just booted.
patiently() {
  for _ in 1 2 3 4 5 6; do
    if "$@"; then return; fi
    sleep 5
  done
  return 1
}
section packages
dpkg-query -W -f '${Package} ${Version} ${Architecture} ${db:Status-Status}\n' 2>/dev/null || rpm -qa | sort
section enabled-units
# Read from the files, not asked of systemd.
systemctl --root=/ list-unit-files --state=enabled --no-legend --plain | awk '{print $1, $2}'
section failed-units
patiently systemctl list-units --state=failed --no-legend --plain | awk '{print $1}'
section running-services
# Left out are those that come and go with a login, and systemd's helpers that start on demand and
# end when nobody has asked for a while.
patiently systemctl list-units --type=service --state=running --no-legend --plain |
  awk '$1 !~ /^(getty|user)@/ &&
       $1 !~ /^systemd-(fsckd|hostnamed|initctl|localed|rfkill|timedated)\.service$/ {print $1}'
section listening-sockets
# A UDP socket on an ephemeral port belongs to a client that waits for an answer, as ntpdate does
# every few minutes: no server listens there.
ss -H -lntu |
  awk 'NR == FNR { low = $1; high = $2; next }
       { port = $5; sub(/.*:/, "", port) }
       !($1 == "udp" && port >= low && port <= high) { print $1, $5 }' \
    /proc/sys/net/ipv4/ip_local_port_range - | sort
section addresses
ip -o addr show scope global | awk '{print $2, $3, $4}'
ip -o link show | awk -F'[ :]+' '{print $2}' | sort
section routes
ip route show | sort
section mounts
# An automount's pipe to systemd has another number each time.
findmnt -rn -o TARGET,SOURCE,FSTYPE,OPTIONS | grep -v '^/run/user' |
  sed -E 's/,(fd|pgrp|pipe_ino)=[0-9]+//g' | sort
section kernel
uname -r -v -m
cat /proc/cmdline
section hardware
grep -E '^(model name|flags)' /proc/cpuinfo | sort | uniq -c
grep MemTotal /proc/meminfo
cat /sys/class/dmi/id/product_uuid
cat /sys/block/vda/serial 2>/dev/null; cat /sys/block/vda/size
for d in /sys/bus/pci/devices/*; do echo "${d##*/} $(cat "$d/vendor") $(cat "$d/device")"; done
section files
find /etc /usr /boot -xdev -type f -print0 | sort -z | xargs -0 sha256sum
find /etc /usr /boot -xdev -type l -printf '%p -> %l\n' | sort
find /etc /usr /boot -xdev -printf '%p %m %u %g\n' | sort
