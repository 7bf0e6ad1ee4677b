"""Reads the file that W&B's client leaves of an offline run, as its sync would."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any


def read_offline(place: Path) -> dict[str, Any]:
    """What an offline run's file says: LevelDB's log framing around protobuf records."""
    from wandb.proto import wandb_internal_pb2

    (path,) = place.glob("wandb/offline-run-*/run-*.wandb")
    data, at, part = path.read_bytes(), 7, b""
    found: dict[str, Any] = {"history": [], "summary": {}, "config": {}, "artifacts": []}
    while at + 7 <= len(data):
        left = 32768 - at % 32768
        if left < 7:
            at += left
            continue
        _, length, kind = struct.unpack("<IHB", data[at : at + 7])
        part += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):
            record = wandb_internal_pb2.Record()  # type: ignore[attr-defined]  # made on import
            record.ParseFromString(part)
            part = b""
            _take(found, record)
    return found


def _take(found: dict[str, Any], record: Any) -> None:
    def items(part: Any) -> dict[str, Any]:
        return {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in part}

    kind = record.WhichOneof("record_type")
    if kind == "run":
        run = record.run
        found |= {
            "group": run.run_group,
            "job_type": run.job_type,
            "id": run.run_id,
            "name": run.display_name,
        }
        found["tags"] = list(run.tags)
        found["config"] |= items(run.config.update)
    elif kind == "history":
        found["history"].append(items(record.history.item))
    elif kind == "summary":
        found["summary"] |= items(record.summary.update)
    elif kind == "artifact":
        found["artifacts"].append(record.artifact.name)
    elif kind == "exit":
        found["exit"] = record.exit.exit_code
