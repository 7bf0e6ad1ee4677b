#!/usr/bin/env bash
# Each mode under schemathesis (five seeds) and under mutated requests on raw sockets: experiments/fuzz/run.sh SECONDS
set -euo pipefail
cd "$(dirname "$0")/../.."
seconds=${1:-900}
out=$(mktemp -d)
for mode in baseline queue batch continuous lb; do
    python run.py server=$mode loadtest=none generator=simulated corpus=animals embedder=hashing device=cpu tracking=off \
        hydra.run.dir="$out/$mode" >"$out/$mode.log" 2>&1 &
    run=$!
    touch "$out/$mode.log"
    until address=$(grep -o 'http://[^ ]*' "$out/$mode.log" | head -1) && [ -n "$address" ]; do sleep 0.2; done
    service=$(pgrep -P $run -f mlsys.serve | head -1)
    for seed in 1 2 3 4 5; do
        schemathesis run "$address/openapi.json" --seed $seed --max-examples 50 --request-timeout 60 \
            --checks status_code_conformance,response_schema_conformance,content_type_conformance \
            >"$out/$mode.schema.$seed" 2>&1 || cat "$out/$mode.schema.$seed"
        echo "$mode, schemathesis, seed $seed: $(grep -E 'generated|passed|failed' "$out/$mode.schema.$seed" | tail -1)"
    done
    echo "$mode, mutated requests:"
    python experiments/fuzz/sockets.py "$address" --seconds "$seconds" --seed 7 --pid "$service" || true
    curl -s "$address/metrics" | grep -E '^mlsys_requests_total' || true
    kill -TERM $run
    wait $run || true
done
