# Arguments: units or nothing, in one word; then port HOST NUMBER, unit NAME or command (its text on
# standard input, which no journal sees). Returns when it is so, and fails when one of the units has
# failed for good. The caller's deadline ends it otherwise, and what it last saw is then its last
# output.
read -ra units <<<"$1"
shift
said=
say() {
    if [[ $1 != "$said" ]]; then
        said=$1
        printf '%s\n' "$said"
    fi
}
port() {
    # shellcheck disable=SC2016
    timeout 5 bash -c 'exec 3<>"/dev/tcp/$1/$2"' bash "$1" "$2" 2>/dev/null && return
    say "nothing accepts connections on $1 port $2"
    return 1
}
unit() {
    local state
    state=$(systemctl is-active -- "$1") && return
    say "$1 is $state"
    return 1
}
command() {
    local output status=0
    output=$(bash -euo pipefail -c "$text" 2>&1 </dev/null) || status=$?
    if [[ $status == 0 ]]; then return; fi
    say "exit status $status${output:+$'\n'$output}"
    return 1
}
# A unit that systemd will start again is not "failed" but "activating". Three looks, for one that
# something else starts again at this moment.
failed=
looks=0
has_failed() {
    local unit
    for unit in ${units[@]+"${units[@]}"}; do
        if systemctl --quiet is-failed -- "$unit"; then
            looks=$((looks + 1)) failed=$unit
            return
        fi
    done
    looks=0
    return 1
}
# A question that takes long to ask would otherwise take the processor from what it waits for: a client
# that asks a database starts for a second where machines are emulated.
pause() {
    local took=$((SECONDS - asked))
    sleep $((took < 1 ? 1 : took > 4 ? 12 : 3 * took))
}
text=$(cat)
asked=$SECONDS
until "$@"; do
    if has_failed && ((looks >= 3)); then
        echo "$failed has failed: waiting any longer is no use" >&2
        exit 1
    fi
    pause
    asked=$SECONDS
done
