# Arguments: port HOST NUMBER, unit NAME or command (its text on standard input, which no
# journal sees). Returns when it is so; the caller's
# deadline ends it otherwise, and what it last saw is then its last output.
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
text=$(cat)
until "$@"; do sleep 1; done
