#!/usr/bin/env bash
# All measurements of this experiment on one GPU; results go where MLSYS_OUTPUTS says. About two minutes.
set -uo pipefail
cd "$(dirname "$0")/../.."
search() { python3 run.py -m workload=search device=cuda tracking=off search.rows=1e6 time_limit_s=2 "$@"; }
search metric=dot search.storage=float16 search.queries=1,16,64,256,1024,4096
search metric=l2,cosine search.storage=float16 search.queries=1,256
search metric=dot search.storage=float32,bfloat16 search.queries=1,256
search metric=l2 search.storage=bfloat16 search.queries=1,256
search metric=l1 search.storage=float32 search.queries=1,16,64,256 'search.peers=[torch_cdist_topk]'
search metric=dot search.storage=float16 search.queries=256 placement=host memory_budget=256MiB repeats=5
