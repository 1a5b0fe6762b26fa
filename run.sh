#!/usr/bin/env bash
# ./run.sh       sets up .venv, evaluates and draws the trained models, then trains `demo_fast` a while
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
for figures in checkpoints/*/evaluation.json; do # the trained models
    model=$(basename "$(dirname "$figures")")
    options=(eval_images=64) # figures beside the models are of more
    scenes=checkpoints/$model/scenes.tfrecords
    if [ -f "$scenes" ]; then # where it takes hours to make them
        options=("data.path=$scenes" data.held_out=4 eval_images=4)
    fi
    "$python" -m iodine.main evaluate with "$model" "${options[@]}" out="$run/$model.json"
    "$python" -m iodine.main visualize with "$model" "${options[@]}" out="$run/$model"
done
echo "metrics: $run/*.json   pictures: $run/*/report.html"
echo "training demo_fast: the foreground ARI (ARI-nobg) rises after some 500 steps; Ctrl-C ends it"
"$python" -m iodine.main -F "$run/sacred" with demo_fast checkpoint_dir="$run/checkpoint" \
    stop_after_steps=2500
echo "checkpoint: $run/checkpoint_1"
