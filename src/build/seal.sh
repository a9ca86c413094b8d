# Takes out of a machine what belongs to its build and not to the lab, and gives freed blocks
# back, so that they do not end up in the image.
set -eu
if command -v apt-get >/dev/null; then apt-get clean; fi
if command -v journalctl >/dev/null; then
  journalctl --rotate --quiet || true
  find /var/log/journal /run/log/journal -name '*.journal*' -delete 2>/dev/null || true
fi
find /var/log -type f \( -name '*.gz' -o -name '*.[0-9]' -o -name '*.old' \) -delete
find /var/log -type f -exec truncate --size 0 {} +
find /tmp /var/tmp -mindepth 1 -xdev -delete 2>/dev/null || true
rm -f /root/.bash_history /root/.mysql_history /var/lib/systemd/random-seed
sync
fstrim --all || true
