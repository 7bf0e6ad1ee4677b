#!/usr/bin/env bash
# Draws every picture of README and docs/ from the records in experiments/: bash docs/pictures/draw.sh
# Needs Chromium and the extras page and test.
set -euo pipefail
cd "$(dirname "$0")/../.."
pages=$(mktemp -d)
trap 'rm -rf "$pages"' EXIT
draw() { # NAME HEIGHT DASHBOARD-ARGUMENTS…
    python -m mlsys.dashboard "${@:3}" --out "$pages/$1.html"
    python docs/pictures/shoot.py "$pages/$1.html" "docs/pictures/$1.png" --height "$2"
}
draw h100 1000 experiments/h100_distance/records/libraries
draw search 1200 experiments/h100_search/records/run
draw streaming 1200 experiments/h100_streaming/records
draw serving 1400 experiments/seed_serving/records/float32 --published experiments/seed_serving/expected.csv
draw balancing 1400 experiments/balancing_policies/records
draw continuous 1500 experiments/continuous/records/h100_poisson_16_256
python experiments/stores/draw.py experiments/stores/records/1e5.json "$pages/stores.html"
python docs/pictures/shoot.py "$pages/stores.html" docs/pictures/stores.png --width 1200 --height 580
python experiments/h100_search/reference_table.py experiments/h100_search/records/reference "$pages/reference.html" >/dev/null
python docs/pictures/shoot.py "$pages/reference.html" docs/pictures/reference.png --width 1200 --height 860
