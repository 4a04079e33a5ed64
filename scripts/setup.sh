#!/usr/bin/env bash
# Sets up what is missing: system packages through apt, then the Python environment in .venv from requirements.lock.
# usage: scripts/setup.sh demo|test
#        STREAMSD_PYTHON names the Python to make .venv with; without it, one that Bytewax is made for, if there is one
set -euo pipefail
cd "$(dirname "$0")/.."

want=${1:?usage: scripts/setup.sh demo|test}
# every process of a suite would compile every module anew
unset PYTHONDONTWRITEBYTECODE
export DEBIAN_FRONTEND=noninteractive PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore

listed() { cat "$@" | sed 's/#.*//' | tr -s '[:space:]' '\n' | sed '/^$/d'; }

installed() { [ "$(dpkg-query --show --showformat='${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

good_python() { # prints the Python to use: one from 3.11 on that can make environments, and rather one that has Bytewax
    local candidates=(python3 python3.12 python3.11 python3.14 python3.13) candidate too_new
    [ -z "${STREAMSD_PYTHON:-}" ] || candidates=("$STREAMSD_PYTHON")
    for too_new in '(3, 13)' '(4,)'; do
        for candidate in "${candidates[@]}"; do
            if "$candidate" -c "import sys, ensurepip, venv
sys.exit(not (3, 11) <= sys.version_info < $too_new)" 2>/dev/null; then
                command -v "$candidate"
                return
            fi
        done
    done
    return 1
}

python_packages() { # what apt must bring so that good_python finds one
    good_python >/dev/null && return
    if python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || ! command -v python3 >/dev/null; then
        echo python3 python3-venv
    else
        echo python3.11 python3.11-venv
    fi
}

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo --preserve-env=DEBIAN_FRONTEND "$@"; fi
}

may_be_root() {
    [ "$(id -u)" = 0 ] || { command -v sudo >/dev/null && { sudo -n true 2>/dev/null || [ -t 0 ]; }; }
}

system_packages() {
    local files=(scripts/packages-demo.txt) missing=() offered=() package log
    [ "$want" = test ] && files+=(scripts/packages-test.txt)
    if ! command -v apt-get >/dev/null; then
        echo "No apt here: install these yourself if they are missing: $(listed "${files[@]}" | tr '\n' ' ')" >&2
        return
    fi
    for package in $(listed "${files[@]}") $(python_packages); do
        installed "$package" || missing+=("$package")
    done
    [ ${#missing[@]} = 0 ] && return
    if ! may_be_root; then
        mapfile -t offered < <(offered "${missing[@]}")
        echo "Some system packages are missing. Run this once, then the same command again:" >&2
        echo "    sudo apt-get update && sudo apt-get install -y --no-install-recommends ${offered[*]:-${missing[*]}}" >&2
        exit 1
    fi
    log=$(mktemp)
    again as_root apt-get -q update
    # not every release has all of them: Ubuntu, say, has Chromium as a snap alone
    mapfile -t offered < <(offered "${missing[@]}")
    for package in "${missing[@]}"; do
        [[ " ${offered[*]} " = *" $package "* ]] || echo "No package $package here: what needs it is not tested." >&2
    done
    [ ${#offered[@]} = 0 ] && return
    echo "Installing ${offered[*]} ..."
    again as_root apt-get -q install -y --no-install-recommends "${offered[@]}"
    rm -f "$log"
}

offered() { # those of the packages that the lists of apt have
    local package
    for package in "$@"; do
        [[ $(apt-cache policy "$package") != *'Candidate: '[!\(]* ]] || echo "$package"
    done
}

again() { # up to three times; what it said is shown if all fail
    local try
    for try in 1 2 3; do
        "$@" >>"$log" 2>&1 && return
        echo "failed (try $try of 3): $*" >>"$log"
        sleep $((try * 5))
    done
    cat "$log" >&2
    exit 1
}

version() { "$1" -c 'import sys; print(*sys.version_info[:2], sep=".")'; }

usable() { # .venv: its Python may be gone with an upgrade of the system, or another one be asked for
    .venv/bin/python -c 'import pip' 2>/dev/null || return 1
    [ -z "${STREAMSD_PYTHON:-}" ] || [ "$(version .venv/bin/python)" = "$(version "$STREAMSD_PYTHON")" ]
}

python_environment() {
    local stamp=.venv/streamsd-setup state python
    state=$(cat requirements.lock pyproject.toml | sha256sum)
    if usable; then
        [ -x .venv/bin/streamsd ] && [ "$(cat "$stamp" 2>/dev/null)" = "$state" ] && return
        python=.venv/bin/python
    else
        python=$(good_python) || {
            echo "No Python from 3.11 on that can make environments (venv) was found${STREAMSD_PYTHON:+: $STREAMSD_PYTHON}." >&2
            exit 1
        }
    fi
    echo "Making the Python environment (.venv) with $("$python" --version); it takes a minute or two ..."
    [ "$python" = .venv/bin/python ] || "$python" -m venv --clear .venv
    .venv/bin/pip install --quiet --retries 5 --require-hashes -r requirements.lock
    .venv/bin/pip install --quiet --no-deps --no-build-isolation -e .
    echo "$state" >"$stamp"
}

browser_modules() { # the player that the browser's tests play with
    local place=tests/e2e/browser
    [ "$want" = test ] && [ -f $place/package.json ] && [ ! -d $place/node_modules ] || return 0
    if ! command -v npm >/dev/null; then
        as_root apt-get -q install -y --no-install-recommends nodejs npm >/dev/null
    fi
    echo "Installing the browser's modules ..."
    (cd $place && npm ci --no-audit --no-fund --silent)
}

system_packages
python_environment
browser_modules
