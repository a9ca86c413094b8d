# Prints the units that have failed, or that end and are started again and again, a line each.
systemctl list-units --all --no-pager --no-legend --plain --full --state=failed,auto-restart |
    awk '{ print $1 }'
