# Argument: unit. Prints its state, a line `--`, the last lines of its journal.
systemctl status --no-pager --full --lines=0 -- "$1" 2>&1 || true
echo
echo --
journalctl --no-pager --quiet --output=cat --lines=15 --unit="$1" || true
