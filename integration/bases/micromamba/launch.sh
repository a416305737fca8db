#!/bin/sh
# Unpacks the archive that follows this script and runs the program in it with its own Python and C library.
set -eu
dir=$(mktemp -d "${TMPDIR:-/tmp}/micromamba.XXXXXX")
trap 'rm -rf "$dir"' EXIT
trap 'exit 143' TERM
trap 'exit 130' INT
tail -n +@LINES@ "$0" | tar -xzof - -C "$dir"
# Without any authorities, rattler does not even begin; some images have none.
[ -e /etc/ssl/certs/ca-certificates.crt ] || export SSL_CERT_FILE="${SSL_CERT_FILE:-$dir/etc/ssl/certs/ca-certificates.crt}"
code=0
PYTHONHOME=$dir/usr PYTHONPATH=$dir/site PYTHONDONTWRITEBYTECODE=1 "$dir/@LIBRARIES@/@LOADER@" \
  --library-path "$dir/@LIBRARIES@" "$dir/usr/bin/python3.11" -sS "$dir/main.py" "$@" || code=$?
exit "$code"
