#!/usr/bin/env bash
# ./run.sh       sets up .venv, generates Tetrominoes, trains a short run, evaluates it, draws it
# ./run.sh test  sets up .venv with the test tools and runs all tests
set -euo pipefail
cd "$(dirname "$0")"

setup() { # makes .venv, or brings it up to date, with the given extra
    local python=${PYTHON:-python3}
    "$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || {
        echo "error: Python 3.11 to 3.13 is needed (PYTHON=/path/to/python3.11 ./run.sh)" >&2
        exit 1
    }
    [ -x .venv/bin/python ] || "$python" -m venv .venv
    .venv/bin/pip install --quiet --upgrade "pip>=24"
    .venv/bin/pip install --quiet --editable ".$1"
}

export TF_CPP_MIN_LOG_LEVEL=${TF_CPP_MIN_LOG_LEVEL:-3}
if [ "${1:-}" = test ]; then
    setup "[test]"
    exec .venv/bin/python -m pytest "${@:2}"
fi
[ $# -eq 0 ] || { echo "usage: ./run.sh [test [pytest arguments]]" >&2; exit 1; }

setup ""
python=.venv/bin/python
run=runs/$(date +%Y%m%d-%H%M%S)
mkdir -p "$run"
config=(with tetrominoes batch_size=8)
"$python" -m iodine.main -F "$run/sacred" "${config[@]}" checkpoint_dir="$run/checkpoint" \
    stop_after_steps=200 save_checkpoint_steps=100
"$python" -m iodine.main evaluate "${config[@]}" checkpoint_dir="$run/checkpoint_1" \
    eval_images=64 out="$run/metrics.json"
"$python" -m iodine.main visualize "${config[@]}" checkpoint_dir="$run/checkpoint_1" \
    eval_images=64 out="$run/pictures"
echo "metrics: $run/metrics.json   pictures: $run/pictures/report.html"
