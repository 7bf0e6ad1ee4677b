#!/usr/bin/env bash
# One GPU and all GPUs of a host in turn, from the repository's root: about five minutes on four of them.
# bash experiments/four_gpus/measure.sh [DIRECTORY]
set -u
directory=${1:-outputs/gpus}
gpus=$(python -c 'import torch; print(torch.cuda.device_count())')
for n in "$gpus" 1; do
  ranks="torchrun --standalone --nproc-per-node=$n run.py -m tracking=off threads=16"
  $ranks metric=l2 size=1e9,4e9 dtype=float16 baselines=[] hydra.sweep.dir="$directory/distance-$n"
  $ranks workload=search search.rows=1e7 search.queries=1,256,4096 search.storage=float16 search.peers=[] \
    hydra.sweep.dir="$directory/search-$n"
  serve="python run.py experiment=h100_serving generator.compile=true loadtest.warmup_requests=2 tracking=off
    loadtest.quality_questions=0 loadtest.engine_ceiling=false"
  $serve server=lb server.replicas="$n" server.max_queue=512 balancer=least_in_flight loadtest.concurrency=[512] \
    loadtest.duration_s=8 loadtest.processes=2 hydra.sweep.dir="$directory/lb-$n"
  $serve server=queue server.workers="$n" loadtest.concurrency=[64] loadtest.duration_s=6 \
    hydra.sweep.dir="$directory/queue-$n"
done
