#!/usr/bin/env bash
# Debian packages that some tests need: installs what is absent when it can (root, apt-get), else
# says what the tests will skip. Never fails: a test without its program skips with the reason.
set -euo pipefail

declare -A package=(
    [bwrap]=bubblewrap [slirp4netns]=slirp4netns [ip]=iproute2
    [podman]=podman [runc]=runc [busybox]=busybox-static [catatonit]=catatonit
    [chromium]=chromium [gcc]="gcc libc6-dev"
    [arm-none-eabi-gcc]="gcc-arm-none-eabi libnewlib-arm-none-eabi"
    [qemu-system-arm]=qemu-system-arm
)
declare -A purpose=(
    [bwrap]="jobs run without a sandbox; the isolation tests are skipped"
    [slirp4netns]="jobs that may only lead out have no network; its tests are skipped"
    [ip]="jobs that may only lead out have no network; its tests are skipped"
    [podman]="the tests of containers are skipped"
    [runc]="podman cannot run containers where control groups are of both versions"
    [busybox]="no image can be built; the tests of containers are skipped"
    [catatonit]="containers run without an init of their own"
    [chromium]="the pages are not seen in a browser; those tests are skipped"
    [gcc]="instructions of boards are not counted by class; those tests are skipped"
    [arm-none-eabi-gcc]="no firmware for boards is built; those tests are skipped"
    [qemu-system-arm]="no board is emulated; those tests are skipped"
)
wanted=(bwrap slirp4netns ip podman runc busybox catatonit chromium gcc arm-none-eabi-gcc
    qemu-system-arm)

absent=()
for program in "${wanted[@]}"; do
    command -v "$program" >/dev/null || absent+=("$program")
done
[[ ${#absent[@]} -gt 0 ]] || exit 0

if [[ $(id -u) -eq 0 ]] && command -v apt-get >/dev/null; then
    names=()
    for program in "${absent[@]}"; do
        read -ra more <<<"${package[$program]}"
        names+=("${more[@]}")
    done
    echo "installing ${names[*]}"
    export DEBIAN_FRONTEND=noninteractive
    log=$(mktemp)
    { apt-get install -y --no-install-recommends "${names[@]}" ||
        { apt-get update && apt-get install -y --no-install-recommends "${names[@]}"; }; } \
        >"$log" 2>&1 || { echo "apt-get failed:"; tail -n 5 "$log"; }
    rm -f "$log"
fi

for program in "${absent[@]}"; do
    command -v "$program" >/dev/null ||
        echo "absent: $program (Debian package ${package[$program]}): ${purpose[$program]}"
done
