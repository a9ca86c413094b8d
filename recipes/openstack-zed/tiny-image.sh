#!/bin/bash
# Makes a small disk that boots, for a first instance: this machine's own kernel, a busybox and a
# start script that asks for an address by DHCP. It takes the place of CirrOS, which would have to
# be downloaded. Usage: tiny-image.sh FILE.qcow2
set -euo pipefail

out=$1
kernel=${KERNEL:-/boot/vmlinuz-$(uname -r)}
modules=${MODULES:-/lib/modules/$(uname -r)}
busybox=${BUSYBOX:-/bin/busybox}
grub=/usr/lib/grub/i386-pc
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# What the kernel needs to reach a virtio card, in the order in which it can be loaded.
wanted=(virtio_ring virtio virtio_pci_legacy_dev virtio_pci_modern_dev virtio_pci failover
    net_failover virtio_net)

# The file tree that is unpacked into memory.
root=$work/root
mkdir -p "$root"/{bin,dev,proc,sys,modules}
cp "$busybox" "$root/bin/busybox"
for module in "${wanted[@]}"; do
    find "$modules/kernel" -name "$module.ko" -exec cp {} "$root/modules/" \;
done
cat >"$root/lease" <<'EOF'
#!/bin/busybox sh
# What udhcpc calls with what it was told.
bb=/bin/busybox
case $1 in
deconfig)
    $bb ip addr flush dev "$interface"
    ;;
bound | renew)
    $bb ip addr replace "$ip/$mask" dev "$interface"
    [ -z "$router" ] || $bb ip route replace default via "${router%% *}"
    echo "tiny: $interface has the address $ip/$mask"
    ;;
esac
EOF
cat >"$root/init" <<EOF
#!/bin/busybox sh
bb=/bin/busybox
\$bb mount -t proc proc /proc
\$bb mount -t sysfs sysfs /sys
\$bb mount -t devtmpfs devtmpfs /dev
exec </dev/console >/dev/console 2>&1
echo "tiny: Linux \$(\$bb uname -r) has booted"
for module in ${wanted[*]}; do
    [ ! -e "/modules/\$module.ko" ] || \$bb insmod "/modules/\$module.ko"
done
\$bb hostname tiny
\$bb ip link set lo up
card=
for try in 1 2 3 4 5 6 7 8 9 10; do
    card=\$(\$bb ls /sys/class/net | \$bb grep -v '^lo\$' | \$bb head -n 1)
    [ -z "\$card" ] || break
    \$bb sleep 1
done
if [ -n "\$card" ]; then
    \$bb ip link set "\$card" up
    echo "tiny: asking for an address on \$card"
    \$bb udhcpc -f -q -i "\$card" -s /lease -t 100 -T 5 || echo "tiny: nobody gives an address"
else
    echo "tiny: there is no network card"
fi
echo "tiny: ready"
while :; do \$bb sleep 3600; done
EOF
chmod 755 "$root/init" "$root/lease"

# The disk: one partition of ext2 from the first mebibyte on, with what GRUB loads.
tree=$work/tree
mkdir -p "$tree/boot/grub"
cp "$kernel" "$tree/boot/vmlinuz"
(cd "$root" && find . | LC_ALL=C sort | cpio --quiet -o -H newc -R 0:0 --reproducible) |
    gzip -1n >"$tree/boot/initrd"
cat >"$tree/boot/grub/grub.cfg" <<'EOF'
linux /boot/vmlinuz console=ttyS0 quiet nokaslr mitigations=off no_timer_check panic=10
initrd /boot/initrd
boot
EOF
disk=$work/disk
truncate -s 40M "$disk"
sfdisk -q "$disk" <<'EOF'
label: dos
label-id: 0x6c616274
2048,,L,*
EOF
# GRUB reads a file block by block: of 4 KiB, not the 1 KiB that a small disk would get.
mke2fs -q -F -t ext2 -b 4096 -m 0 -E offset=1048576,root_owner=0:0 -d "$tree" "$disk" 39M
grub-mkimage -O i386-pc -d "$grub" -p '(hd0,msdos1)/boot/grub' -o "$work/core.img" \
    biosdisk part_msdos ext2 linux normal configfile
dd if="$grub/boot.img" of="$disk" bs=440 count=1 conv=notrunc status=none
dd if="$work/core.img" of="$disk" bs=512 seek=1 conv=notrunc status=none
qemu-img convert -q -c -O qcow2 "$disk" "$out"
