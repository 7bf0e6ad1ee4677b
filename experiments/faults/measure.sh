#!/usr/bin/env bash
# The matrix fault x mode, goodput up to ten times the capacity, and HAProxy in front of the same replicas.
# bash experiments/faults/measure.sh DIRECTORY [overrides of the matrix]; about thirteen minutes on two quiet cores.
set -u
cd "$(dirname "$0")/../.."
directory=$(realpath -m "${1:-outputs/faults}")
shift || true
common="loadtest=poisson loadtest.request_rate=30 loadtest.requests=240 loadtest.timeout_s=10 corpus=animals embedder=hashing
  generator=simulated generator.base_ms=100 generator.per_token_ms=0 generator.max_new_tokens=1 tracking=off loadtest.engine_ceiling=false
  loadtest.quality_questions=0 ++fault.at_s=3"
lasting=stop,slow,hang,flap,partition,latency,reset,disk_full,no_descriptors,oom,clock_jump,client_leave,slow_client
sweep() { # name, arguments
  local name=$1; shift
  python run.py -m hydra.sweep.dir="$directory/matrix/$name" $common "$@"
}
sweep lb-lasting server=lb server.replicas=2 fault=$lasting ++fault.for_s=2 "$@"
sweep lb-moments server=lb server.replicas=2 fault=kill,restart_rolling "$@"
sweep alone-lasting server=batch,continuous fault=stop,hang,reset,client_leave ++fault.for_s=2 "$@"
sweep alone-kill server=batch,continuous fault=kill "$@"
python run.py experiment=overload_simulated tracking=off hydra.run.dir="$directory/overload"
haproxy=${HAPROXY:-$(command -v haproxy || true)}
if [ -n "$haproxy" ]; then
  python experiments/faults/fronts.py --haproxy "$haproxy" --directory "$directory/fronts" fault.at_s=3 | tee "$directory/fronts.md"
else
  echo "no haproxy: apt-get install haproxy, or HAPROXY=PATH" >&2
fi
python experiments/faults/fairness.py --directory "$directory/fairness" | tee "$directory/fairness.md"
python experiments/faults/table.py "$directory" | tee "$directory/table.md"
