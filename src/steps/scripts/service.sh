# Arguments: enable, disable or leave; start, stop, restart, reload or leave; units.
enabled=$1 state=$2
shift 2
# What is so already is left alone: where a unit also has a SysV script, systemctl calls programs
# for it that take an emulated guest the better part of a minute.
if [[ $enabled != leave ]]; then
    for unit; do
        is=$(systemctl is-enabled -- "$unit" 2> /dev/null || true)
        if [[ $is != "${enabled}d" ]]; then systemctl --quiet "$enabled" -- "$unit"; fi
    done
fi
if [[ $state == leave ]]; then exit; fi
systemctl "$state" -- "$@"
if [[ $state == stop ]]; then exit; fi

# A simple service counts as started before its program has looked at its configuration.
sleep 0.5
for unit; do
    # Not `--value`: an old systemctl does not know it.
    state=$(systemctl show --property=SubState -- "$unit")
    if [[ $state == SubState=auto-restart ]] || systemctl --quiet is-failed -- "$unit"; then
        echo "$unit ended right after it was started" >&2
        exit 1
    fi
done
