#!/usr/bin/env bash
# Writes requirements.lock again: every dependency of the distributions but torch, with hashes and
# without addresses (middleman-ml and mimaas need nothing that the others and the tests do not).
# Takes the newest versions allowed; run it when you mean that. deploy/requirements.lock is the part
# of it that a server in a container needs.
set -euo pipefail
cd "$(dirname "$0")/.."

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
python3 -m venv "$tmp/uv"
"$tmp/uv/bin/pip" install --quiet uv
printf 'hatchling>=1.27\neditables>=0.5\n' > "$tmp/build.in"
# Later releases refuse Python 3.11 by an upper bound, which uv does not look at.
echo 'backports-strenum<1.3' > "$tmp/bounds.txt"

# compile OUTPUT OPTION...
compile() {
    "$tmp/uv/bin/uv" pip compile --quiet --universal --python-version 3.11 --generate-hashes \
        --no-emit-package torch --no-emit-index-url --no-annotate \
        --custom-compile-command "tools/lock.sh" --extra postgres --extra gpu "${@:2}" \
        --constraint "$tmp/bounds.txt" \
        --output-file "$tmp/$1" \
        pyproject.toml sdk/python/client/pyproject.toml sdk/python/job/pyproject.toml "$tmp/build.in"
}
compile requirements.lock --upgrade --extra demo --extra test \
    --extra boards --extra quantize --extra probe
compile server.lock --constraint "$tmp/requirements.lock"

if grep -nE '://|--(extra-)?index-url|--find-links|--trusted-host' "$tmp"/*.lock; then
    echo "a lock would name an address; not written" >&2
    exit 1
fi
cp "$tmp/requirements.lock" requirements.lock
cp "$tmp/server.lock" deploy/requirements.lock
echo "requirements.lock: $(grep -c '==' requirements.lock) packages"
