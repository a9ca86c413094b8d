# Argument: unit. Prints its state, a line `--`, the last lines of its journal: of this boot, because
# machines are built at one and the same time again and again.
systemctl status --no-pager --full --lines=0 -- "$1" 2>&1 || true
echo
echo --
journalctl --boot --no-pager --quiet --output=cat --lines=20 --unit="$1" || true
