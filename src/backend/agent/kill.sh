# Ends the session of a command that runner.sh started: TERM, a while, KILL.
# Arguments: nonce, half seconds to wait, `clean` to remove the folder afterwards.
nonce=$1 patience=$2 clean=${3-}
dir=/run/labbuild/$nonce

# Just started: the session may not have its leader yet.
for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
    if [ -s "$dir/pid" ] || [ ! -d "$dir" ]; then break; fi
    sleep 0.5
done

# What the leader left the group of, as job control does, is still in its session. Looking at
# every process is slow in an emulated guest: done once, at the end.
stragglers() {
    for process in /proc/[0-9]*; do
        { read -r line <"$process/stat"; } 2>/dev/null || continue
        # After the name in parentheses: state, parent, group, session.
        # shellcheck disable=SC2086
        set -- ${line##*) }
        if [ "$4" = "$leader" ]; then kill -KILL "${process#/proc/}" 2>/dev/null; fi
    done
}

if { read -r leader <"$dir/pid"; } 2>/dev/null; then
    kill -TERM "-$leader" 2>/dev/null
    while [ "$patience" -gt 0 ] && kill -0 "-$leader" 2>/dev/null; do
        sleep 0.5
        patience=$((patience - 1))
    done
    kill -KILL "-$leader" 2>/dev/null
    stragglers
fi
if [ "$clean" = clean ]; then rm -rf "$dir" "$dir.in"; fi
