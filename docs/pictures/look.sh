#!/usr/bin/env bash
# What a reader sees, to be looked at before a release: bash docs/pictures/look.sh DIRECTORY
# README as wide as GitHub shows it, the docs' front page, and the pages of two sweeps on a desk (1400 px) and on a
# telephone (390 px). Needs Chromium and the extras page, docs and test.
set -euo pipefail
out=$(realpath -m "${1:?bash docs/pictures/look.sh DIRECTORY}")
cd "$(dirname "$0")/../.."
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
mkdir -p "$out"
shoot() { # PAGE PICTURE WIDTH HEIGHT
    python docs/pictures/shoot.py "$1" "$out/$2.png" --width "$3" --height "$4"
}
python docs/pictures/readme.py "$scratch/readme.html"
shoot "$scratch/readme.html" readme 1012 1600
mkdocs build -q --site-dir "$scratch/site"
for width in 1400 390; do
    shoot "$scratch/site/index.html" "docs-$width" "$width" 1400
done
python -m mlsys.dashboard experiments/h100_distance/records/libraries --out "$scratch/distance.html" >/dev/null
python -m mlsys.dashboard experiments/seed_serving/records/float32 \
    --published experiments/seed_serving/expected.csv --out "$scratch/serving.html" >/dev/null
for page in distance serving; do
    for width in 1400 390; do
        shoot "$scratch/$page.html" "$page-$width" "$width" 1600
    done
done
