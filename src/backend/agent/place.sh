# Puts a file in its place whole: arguments verb, path, suffix of the temporary file, mode, owner.
#   all    standard input is the content; prints "changed" or "same"
#   begin  makes an empty temporary file and prints its name; more is appended to it from outside
#   end    the temporary file is complete; prints "changed" or "same"
#   drop   forget it
verb=$1 path=$2 suffix=$3 mode=$4 owner=$5

# The target of a symbolic link, not the link.
path=$(realpath -m -- "$path")
if [[ -d $path ]]; then
    echo "is a folder" >&2
    exit 1
fi
temporary=$path$suffix

begin() {
    mkdir -p -- "$(dirname -- "$path")"
    (umask 077 && : >"$temporary")
}

# Owner first: chown takes set-uid bits away.
dress() {
    if [[ -e $path ]]; then
        chown --reference="$path" -- "$temporary"
        chmod --reference="$path" -- "$temporary"
    else
        chmod 0644 -- "$temporary"
    fi
    if [[ $owner ]]; then chown -- "$owner" "$temporary"; fi
    if [[ $mode ]]; then chmod -- "$mode" "$temporary"; fi
}

end() {
    dress
    local looks='%a %u %g'
    if [[ -f $path && $(stat -c "$looks" -- "$path") == "$(stat -c "$looks" -- "$temporary")" ]] &&
        cmp -s -- "$path" "$temporary"; then
        rm -f -- "$temporary"
        echo same
    else
        mv -fT -- "$temporary" "$path"
        echo changed
    fi
}

case $verb in
all)
    trap 'rm -f -- "$temporary"' EXIT
    begin
    cat >"$temporary"
    end
    ;;
begin)
    begin
    printf '%s\n' "$temporary"
    ;;
end)
    trap 'rm -f -- "$temporary"' EXIT
    end
    ;;
drop) rm -f -- "$temporary" ;;
esac
