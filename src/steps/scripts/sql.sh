# Arguments: database or nothing, clients by preference. Standard input: statements.
database=$1
shift
for client; do
    if command -v "$client" >/dev/null; then
        exec "$client" --protocol=socket --user=root --batch ${database:+"--database=$database"}
    fi
done
echo "there is no MariaDB or MySQL client in the guest (looked for: $*)" >&2
exit 1
