#!/usr/bin/env bash
set -euo pipefail
cd "$(dirname "$0")"

usage() {
    cat <<'TEXT'
./run.sh           sets up .venv once; then, in at most five minutes on two cores, takes scenes apart
                   with trained models, trains a small one, and writes one report.html
./run.sh test ...  sets up .venv with the test tools and runs all tests (arguments go to pytest)
./run.sh setup     sets up .venv and does no more
./run.sh --help    says this

All need Python 3.11 to 3.13: PYTHON=/path/to/python3.11 ./run.sh takes another than python3.
TEXT
}

setup() { # makes .venv, or brings it up to date, with the given extra; a second run changes nothing
    local python=${PYTHON:-python3} stamp=.venv/installed$1 wanted
    "$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || {
        echo "error: Python 3.11 to 3.13 is needed (PYTHON=/path/to/python3.11 ./run.sh)" >&2
        exit 1
    }
    wanted=$("$python" --version; cat requirements.txt pyproject.toml)
    [ "$wanted" != "$(cat "$stamp" 2> /dev/null)" ] || return 0
    echo "installing into .venv, once: a few minutes, most of it TensorFlow"
    if [ "$("$python" --version)" != "$(.venv/bin/python --version 2> /dev/null)" ]; then
        "$python" -m venv --clear .venv
    fi
    .venv/bin/python -m pip install --disable-pip-version-check --editable ".$1"
    echo "$wanted" | tee "$stamp" > .venv/installed # The test tools come on top of all others.
}

export TF_CPP_MIN_LOG_LEVEL=${TF_CPP_MIN_LOG_LEVEL:-3}
case ${1:-} in
    test)
        setup "[test]"
        exec .venv/bin/python -m pytest "${@:2}"
        ;;
    setup)
        setup ""
        ;;
    "")
        setup ""
        exec .venv/bin/python -m iodine.evaluate.tour "runs/$(date +%Y%m%d-%H%M%S)"
        ;;
    -h | --help)
        usage
        ;;
    *)
        usage >&2
        exit 1
        ;;
esac
