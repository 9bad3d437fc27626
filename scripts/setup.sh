# Sourced by the scripts: the virtual environment, and Debian's packages where we may install them.
# PYTHON chooses the interpreter (default python3), VENV the folder (default .venv).

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
venv=${VENV:-$top/.venv}
python=${PYTHON:-python3}

die() { printf '%s\n' "$*" >&2; exit 3; }

# misused WHAT: the call was wrong. explain: the head of the script, which says what it takes.
misused() { printf '%s; %s --help says what it takes\n' "$*" "$0" >&2; exit 2; }
explain() { sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"; exit 0; }

# What a PC/SC reader needs: pcscd, and what pyscard is built with (it has no wheel for Linux).
pcsc_packages=(pcscd vsmartcard-vpcd libpcsclite-dev gcc python3-dev)

# environment EXTRAS: make the virtual environment, or refresh it when it lacks one of these extras of chargetill.
environment() {
    local wanted=$1 has="" extra missing="" state
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null ||
        die "$python is not Python 3.11 or newer (apt-get install python3; or set PYTHON)"
    state="$("$python" -c 'import sys; print(sys.version)') $(cat "$top/pyproject.toml" "$top/requirements.txt" | cksum)"
    if [ "$(head -1 "$venv/.chargetill" 2>/dev/null)" = "$state" ]; then has=$(tail -1 "$venv/.chargetill"); fi
    for extra in ${wanted//,/ }; do
        case ",$has," in *",$extra,"*) ;; *) missing=yes ;; esac
    done
    if [ -z "$missing" ]; then return; fi
    "$python" -m venv "$venv" || die "no virtual environment in $venv (apt-get install python3-venv)"
    "$venv/bin/python" -m pip install -qq --disable-pip-version-check \
        --constraint "$top/requirements.txt" --editable "$top[$wanted${has:+,$has}]" ||
        die "the packages could not be installed (is the package index reachable?)"
    printf '%s\n%s\n' "$state" "$wanted${has:+,$has}" >"$venv/.chargetill"
}

# developer: everything that tests and checks need; without Debian's packages pyscard cannot be built, which is said.
developer() {
    debian mosquitto chromium fonts-dejavu-core iproute2 systemd "${pcsc_packages[@]}"
    if [ -e /usr/include/PCSC/winscard.h ]; then environment dev,demo,pcsc; return; fi
    printf 'WITHOUT PC/SC: libpcsclite-dev is not installed, so nothing of that reader is tested\n' >&2
    environment dev,demo
}

# debian PACKAGE..: install what is missing, as root or through sudo; say loudly what could not be had.
debian() {
    local missing=() package as=()
    for package in "$@"; do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
    done
    if [ ${#missing[@]} -eq 0 ]; then return; fi
    if [ "$(id -u)" -ne 0 ]; then
        sudo -n true 2>/dev/null || { printf 'NOT INSTALLED (no root, no sudo): %s\n' "${missing[*]}" >&2; return; }
        as=(sudo -n)
    fi
    "${as[@]}" apt-get update -qq >/dev/null || true
    "${as[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
        "${missing[@]}" >/dev/null || printf 'COULD NOT BE INSTALLED: %s\n' "${missing[*]}" >&2
}
