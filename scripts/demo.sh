#!/usr/bin/env bash
# A virtual desktop, encoded live, to watch in a browser. Everything it keeps is in .demo/.
# usage: scripts/demo.sh start|stop
set -euo pipefail
cd "$(dirname "$0")/.."

unset PYTHONDONTWRITEBYTECODE
export STREAMSD_PROFILE=$PWD/examples/quickstart.yaml
export STREAMSD_STATE_DIR=$PWD/.demo/state STREAMSD_RUN_DIR=$PWD/.demo/run STREAMSD_CONFIG=$PWD/.demo/streamsd.yaml
streamsd=.venv/bin/streamsd

case "${1:?usage: scripts/demo.sh start|stop}" in
start)
    mkdir -p .demo
    {
        declare -x | grep -E '^declare -x STREAMSD_(PROFILE|STATE_DIR|RUN_DIR|CONFIG)=' | sed 's/^declare -x/export/'
        echo "export PATH=$(printf %q "$PWD/.venv/bin"):\$PATH"
    } >.demo/env
    if "$streamsd" status >/dev/null 2>&1; then
        echo "The demo runs already; its profile is applied again."
    else
        "$streamsd" up --detach
    fi
    "$streamsd" apply --wait 120
    echo
    "$streamsd" status
    cat <<TEXT

Watch it:   http://127.0.0.1:8088/desktop/web/
Change it:  edit examples/quickstart.yaml and save
Look on:    source .demo/env && streamsd events --follow
Stop it:    make demo-stop
TEXT
    ;;
stop)
    "$streamsd" down
    ;;
*)
    echo "usage: scripts/demo.sh start|stop" >&2
    exit 1
    ;;
esac
