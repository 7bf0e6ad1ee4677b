"""The bare pipeline's own rate: what no queue, batcher or balancer on top of it can exceed.

`python -m mlsys.loadtest.ceiling ENGINE.json`, a process of its own as the service is; JSON lines on stdout.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mlsys.loadtest.lengths import Lengths
from mlsys.loadtest.options import Load
from mlsys.quantities import limit_threads

FEWEST_BATCHES = 2


def batch_of(config: Mapping[str, Any], in_flight: float | None) -> int:
    """The batch size that the service can reach with so many requests in flight (None: any number).

    One by one for baseline and queue; as many as there are slots for continuous, where answers of one length could
    all be written together; for a balancer that of one replica with its share of the requests.
    """
    server = config["server"]
    replicas = 1
    if "replicas" in server:
        replicas = len(server.get("backends") or []) or server["replicas"]
    mode = server.get("replica", server["name"])
    if server.get("batcher") == "ray":
        mode = "batch"
    if mode not in ("batch", "continuous"):
        return 1
    largest = int(config["batching"]["max_size"])
    if mode == "continuous":
        slots = config["scheduling"].get("slots")
        largest = int(slots or largest if in_flight is None else slots or in_flight)
    return largest if in_flight is None else min(-(-int(in_flight) // replicas), largest)


def write(path: Path, config: Mapping[str, Any], batches: Sequence[int], load: Load) -> Path:
    """What the process is told."""
    content = {"config": config, "batches": list(batches), "load": asdict(load)}
    path.write_text(json.dumps(content) + "\n")
    return path


def main(path: Path) -> None:
    """Load the pipeline as the service does, time it at each batch size, judge its retrieval."""
    content = json.loads(path.read_text())
    config, load = content["config"], Load(**content["load"])
    limit_threads(config["server"].get("threads", 1))
    from mlsys.rag import configured
    from mlsys.rag.quality import hit_rates

    pipeline = configured.pipeline(config)
    pipeline.k = load.k
    pipeline.load()
    pipeline.warm(max(content["batches"], default=1))
    _say("loaded")
    length = Lengths(load.output_tokens).drawn(config["seed"])
    for batch in content["batches"]:
        pipeline.engine_rate(batch, 1, length)
        rate_rps = pipeline.engine_rate(batch, max(FEWEST_BATCHES, -(-load.engine_requests // batch)), length)
        _say("rate", batch=batch, rate_rps=rate_rps)
    values = hit_rates(pipeline, load.quality_questions) if load.quality_questions else {}
    for upstream in pipeline.upstreams:
        upstream.close()
    _say(
        "end",
        values={
            name: value
            for name, value in values.items()
            if name.startswith(("hit_rate", "recall", "retriever."))
        },
    )


def _say(event: str, **content: Any) -> None:
    print(json.dumps({"event": event, **content}), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
