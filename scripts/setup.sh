# Sourced by the scripts: the virtual environment, and Debian's packages where we may install them.
# PYTHON chooses the interpreter (default python3), VENV the folder (default .venv).

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
venv=${VENV:-$top/.venv}
python=${PYTHON:-python3}

die() { printf '%s\n' "$*" >&2; exit 3; }

# environment EXTRAS: make or refresh the virtual environment with these extras of chargetill.
environment() {
    local extras=$1 wanted
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null ||
        die "$python is not Python 3.11 or newer (apt-get install python3; or set PYTHON)"
    wanted="$extras $("$python" -c 'import sys; print(sys.version)') $(cat "$top/pyproject.toml" "$top/requirements.txt" | cksum)"
    if [ "$(cat "$venv/.chargetill" 2>/dev/null)" = "$wanted" ]; then return; fi
    # an environment with more extras already serves one that wants fewer
    case "$(cat "$venv/.chargetill" 2>/dev/null)" in "dev ${wanted#* }") return ;; esac
    "$python" -m venv "$venv" || die "no virtual environment in $venv (apt-get install python3-venv)"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check \
        --constraint "$top/requirements.txt" --editable "$top[$extras]" ||
        die "the packages could not be installed (is the package index reachable?)"
    printf '%s' "$wanted" >"$venv/.chargetill"
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
