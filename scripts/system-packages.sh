#!/bin/sh
# Install the libraries that Qt needs, a virtual display and python3-venv, on
# Debian and Ubuntu. Does nothing where all of them are there, and on systems
# other than Linux. PYTHON names the Python that will make the environment; with
# TESTS=yes a browser is installed too, which tests of reports need.
set -eu

[ "$(uname -s)" = Linux ] || exit 0

libraries="
libEGL.so.1 libegl1
libGL.so.1 libgl1
libdbus-1.so.3 libdbus-1-3
libfontconfig.so.1 libfontconfig1
libglib-2.0.so.0 libglib2.0-0
libxkbcommon-x11.so.0 libxkbcommon-x11-0
libxcb-cursor.so.0 libxcb-cursor0
libxcb-icccm.so.4 libxcb-icccm4
libxcb-keysyms.so.1 libxcb-keysyms1
libxcb-shape.so.0 libxcb-shape0
libxcb-xkb.so.1 libxcb-xkb1
"

find_missing() {
    known=$(PATH="$PATH:/sbin:/usr/sbin" ldconfig -p 2>/dev/null || true)
    missing=""
    while read -r library package; do
        [ -n "$library" ] || continue
        case "$known" in
            *"$library "*) ;;
            *) missing="$missing $package" ;;
        esac
    done <<LIST
$libraries
LIST
    command -v Xvfb >/dev/null || missing="$missing xvfb"
    command -v xauth >/dev/null || missing="$missing xauth"
    # Tests open reports in a browser; elsewhere than on Debian the package has other names.
    if [ "${TESTS:-}" = yes ] && grep -q '^ID=debian' /etc/os-release 2>/dev/null; then
        command -v chromium >/dev/null || missing="$missing chromium"
    fi
    "${PYTHON:-python3}" -c "import ensurepip, venv" 2>/dev/null || missing="$missing python3-venv"
}

find_missing
[ -n "$missing" ] || exit 0

if ! command -v apt-get >/dev/null; then
    echo "These are missing; please install what your system calls them:$missing" >&2
    exit 1
fi
if [ "$(id -u)" = 0 ]; then
    sudo=""
elif command -v sudo >/dev/null; then
    sudo="sudo"
else
    echo "Some system packages are missing. Please run this as root, then try again:" >&2
    echo "  apt-get update && apt-get install --no-install-recommends$missing" >&2
    exit 1
fi

echo "Installing system packages:$missing"
$sudo env DEBIAN_FRONTEND=noninteractive apt-get update -q
# shellcheck disable=SC2086
$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $missing

find_missing
if [ -n "$missing" ]; then
    echo "Still missing after the installation:$missing" >&2
    exit 1
fi
