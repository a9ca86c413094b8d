# Starts one command in a session of its own, with its output in files that labbuild follows.
# Arguments: nonce, bytes of the script, the command's standard input (null, or the rest of
# what follows the script), a file that holds script and rest if they do not come on standard
# input, user, folder, most bytes kept per stream, then the command.
set -u
umask 077
fail() {
    echo "$1" >&2
    rm -rf "$dir"
    exit 125
}
nonce=$1 script=$2 input=$3 payload=$4 user=$5 folder=$6 most=$7
shift 7
dir=/run/labbuild/$nonce
mkdir -p /run/labbuild || exit 125
chmod 711 /run/labbuild || exit 125
mkdir -m 711 "$dir" || exit 125

if [ -n "$payload" ]; then
    exec <"$payload" || fail "cannot read $payload"
    rm -f "$payload"
fi
[ "$script" = 0 ] || head -c "$script" >"$dir/script" || fail "cannot write $dir/script"
if [ "$input" = null ]; then
    input=/dev/null
else
    input=$dir/input
    cat >"$input" || fail "cannot write $input"
fi

command -v -- "$1" >/dev/null || fail "$1: no such command in the guest"
[ "$script" = 0 ] || chmod 700 "$dir/script"
mkfifo "$dir/out.pipe" "$dir/err.pipe" || fail "cannot make pipes in $dir"
if [ -n "$user" ]; then
    entry=$(getent passwd "$user") || fail "there is no user $user in the guest"
    IFS=: read -r USER _ uid gid _ HOME SHELL <<-EOF
	$entry
	EOF
    export USER LOGNAME="$USER" HOME SHELL
    [ "$script" = 0 ] || chown "$uid:$gid" "$dir/script"
    # A reopened /dev/stdout is a new open of the pipe, by this user.
    chown "$uid:$gid" "$dir/out.pipe" "$dir/err.pipe"
    set -- setpriv "--reuid=$uid" "--regid=$gid" --init-groups -- "$@"
fi
cd -- "${folder:-$HOME}" 2>/dev/null || fail "there is no folder ${folder:-$HOME} in the guest"

# The command writes to pipes, as under ssh, and not to the files: what reopens and truncates
# its own standard error must not truncate what is being followed. Beyond `most`, or on a full
# file system, output is read on and dropped, so that the command never blocks nor breaks.
follow() {
    {
        # Blocks of 512 bytes; the pipe is not a file.
        ulimit -f $((most / 512))
        cat
        exec cat >/dev/null
    } <"$dir/$1.pipe" >"$dir/$1" 2>/dev/null &
}
follow out
follow err
exec 3>"$dir/out.pipe" 4>"$dir/err.pipe"
# shellcheck disable=SC2016
setsid sh -c 'echo $$ >"$0/pid"; umask 022; exec "$@"' "$dir" "$@" <"$input" >&3 2>&4 3>&- 4>&-
status=$?
printf '\0%s %s\n' "$nonce" "$status" >&3
printf '\0%s %s\n' "$nonce" "$status" >&4
exit "$status"
