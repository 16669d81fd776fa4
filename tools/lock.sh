#!/usr/bin/env bash
# Writes requirements.lock again: every dependency of the distributions but torch, with hashes and
# without addresses (middleman-ml needs nothing that trainshed-client does not). Takes the newest
# versions allowed; run it when you mean that.
set -euo pipefail
cd "$(dirname "$0")/.."

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
python3 -m venv "$tmp/uv"
"$tmp/uv/bin/pip" install --quiet uv
printf 'hatchling>=1.27\neditables>=0.5\n' > "$tmp/build.in"

"$tmp/uv/bin/uv" pip compile --quiet --universal --python-version 3.11 --generate-hashes \
    --no-emit-package torch --no-emit-index-url --no-annotate --upgrade \
    --custom-compile-command "tools/lock.sh" \
    --extra demo --extra test --extra postgres --extra gpu \
    --output-file "$tmp/requirements.lock" \
    pyproject.toml sdk/python/client/pyproject.toml sdk/python/job/pyproject.toml "$tmp/build.in"

if grep -nE '://|--(extra-)?index-url|--find-links|--trusted-host' "$tmp/requirements.lock"; then
    echo "requirements.lock would name an address; not written" >&2
    exit 1
fi
cp "$tmp/requirements.lock" requirements.lock
echo "requirements.lock: $(grep -c '==' requirements.lock) packages"
