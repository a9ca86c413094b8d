#!/bin/bash
# Makes a small disk that boots, for a first instance, out of what CentOS 7 has: the machine's own
# kernel, bash and a few programs of the system with their libraries, and a start script that asks
# for an address by DHCP. It takes the place of CirrOS, which would have to be downloaded.
# Usage: tiny-image.sh FILE.qcow2
set -euo pipefail

out=$1
kernel=${KERNEL:-/boot/vmlinuz-$(uname -r)}
modules=${MODULES:-/lib/modules/$(uname -r)}
mbr=${MBR:-/usr/share/syslinux/mbr.bin}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# What the kernel needs to reach a virtio card, in the order in which it can be loaded. What is not
# there is built in, or belongs to another kernel.
wanted=(virtio_ring virtio virtio_pci_legacy_dev virtio_pci_modern_dev virtio_pci failover
    net_failover virtio_net)
programs=(bash cat dhclient hostname insmod ip ls mount sleep)

# The file tree that is unpacked into memory: programs, and the libraries they are linked with.
root=$work/root
mkdir -p "$root"/{bin,dev,proc,sys,tmp,modules,var/lib/dhclient,var/run}
for program in "${programs[@]}"; do
    file=$(PATH=$PATH:/usr/sbin:/sbin type -P "$program") || {
        echo "there is no $program here" >&2
        exit 1
    }
    cp -L "$file" "$root/bin/$program"
    ldd "$file" | grep -oE '/[^ ]+' | while read -r library; do
        mkdir -p "$root$(dirname "$library")"
        cp -L "$library" "$root$library"
    done
done
for module in "${wanted[@]}"; do
    find "$modules/kernel" \( -name "$module.ko" -o -name "$module.ko.xz" \) -exec cp {} "$root/modules/" \;
done
find "$root/modules" -name '*.xz' -exec xz -d {} +
cat >"$root/bin/lease" <<'EOS'
#!/bin/bash
# What dhclient calls with what it was told.
bits() {
    local part sum=0
    IFS=. read -r -a parts <<<"$1"
    for part in "${parts[@]}"; do
        while ((part > 0)); do
            sum=$((sum + (part & 1)))
            part=$((part >> 1))
        done
    done
    echo "$sum"
}
case $reason in
PREINIT) ip link set "$interface" up ;;
BOUND | RENEW | REBIND)
    address=$new_ip_address/$(bits "$new_subnet_mask")
    ip addr replace "$address" dev "$interface"
    if [[ ${new_routers-} ]]; then ip route replace default via "${new_routers%% *}"; fi
    echo "tiny: $interface has the address $address"
    ;;
esac
exit 0
EOS
cat >"$root/init" <<EOS
#!/bin/bash
PATH=/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
exec </dev/console >/dev/console 2>&1
read -r _ _ release _ </proc/version
echo "tiny: Linux \$release has booted"
for module in ${wanted[*]}; do
    if [[ -e /modules/\$module.ko ]]; then insmod "/modules/\$module.ko"; fi
done
hostname tiny
ip link set lo up
card=
for try in 1 2 3 4 5 6 7 8 9 10; do
    for card in \$(ls /sys/class/net); do
        if [[ \$card != lo ]]; then break 2; fi
    done
    card=
    sleep 1
done
if [[ \$card ]]; then
    echo "tiny: asking for an address on \$card"
    for try in 1 2 3 4 5 6 7 8 9 10; do
        if dhclient -1 -q -sf /bin/lease -lf /tmp/leases -pf /tmp/pid -cf /dev/null "\$card"; then break; fi
        echo "tiny: nobody gives an address"
        sleep 5
    done
else
    echo "tiny: there is no network card"
fi
echo "tiny: ready"
while :; do sleep 3600; done
EOS
chmod 755 "$root/init" "$root/bin/lease"

# The disk: one FAT partition from the first mebibyte on, with what SYSLINUX loads. Neither step
# needs a loop device.
(cd "$root" && find . | LC_ALL=C sort | cpio --quiet -o -H newc -R 0:0) | gzip -1n >"$work/initrd"
cat >"$work/syslinux.cfg" <<'EOS'
default tiny
label tiny
    kernel /vmlinuz
    append initrd=/initrd console=ttyS0 quiet no_timer_check panic=10
EOS
disk=$work/disk
export MTOOLS_SKIP_CHECK=1
truncate -s 64M "$disk"
truncate -s 63M "$work/part"
mkfs.vfat -F 16 -h 2048 -i 6c616274 -n TINY "$work/part" >/dev/null
mcopy -i "$work/part" "$kernel" ::/vmlinuz
mcopy -i "$work/part" "$work/initrd" "$work/syslinux.cfg" ::/
syslinux "$work/part"
dd if="$work/part" of="$disk" bs=1M seek=1 conv=notrunc status=none
dd if="$mbr" of="$disk" bs=440 count=1 conv=notrunc status=none
# The table of partitions, by hand, because the sfdisk of this system counts in cylinders: active,
# FAT16 with block addresses, from block 2048 on, 129024 blocks; and the mark of a boot block.
printf '\x80\xfe\xff\xff\x0e\xfe\xff\xff\x00\x08\x00\x00\x00\xf8\x01\x00' |
    dd of="$disk" bs=1 seek=446 conv=notrunc status=none
printf '\x55\xaa' | dd of="$disk" bs=1 seek=510 conv=notrunc status=none
qemu-img convert -c -O qcow2 "$disk" "$out"
