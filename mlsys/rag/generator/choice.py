"""`generator.engine=auto`: who computes the default model. On a CPU the fastest with the same answers, if it is there.

`experiments/engines` has the figures: openvino-genai in float32 gives the answers of this project's decoder, 1.7 times
as many a second for one client and 1.3 times for twenty. On a GPU it is always this project's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlsys import defaults, extras, signatures
from mlsys.errors import UserError
from mlsys.rag.generator import Generator, gguf_file
from mlsys.rag.generator.openvino import DTYPES, PACKAGE
from mlsys.rag.generator.smollm2 import SmolLM2

SHARED = ("name", "model", "dtype", "max_new_tokens", "fixed_length", "max_prompt_tokens")


def generator(config: Mapping[str, Any], device: str) -> Generator:
    """The generator of a resolved configuration, not yet loaded. Raises UserError for what it cannot be."""
    section = config["generator"]
    made: Generator = signatures.make("generator", section)
    if not isinstance(made, SmolLM2) or section["engine"] == "own":
        return made
    unable = _unable(config, device)
    absent = None if unable else extras.absent(PACKAGE)
    if (reason := unable or absent) is None:
        return _openvino(section)
    if section["engine"] == "openvino":
        raise UserError(f"generator.engine=openvino: {reason}")
    if absent is not None:
        made.chosen = (
            f"generator.engine=auto: this project's decoder computes; openvino would be faster, but {absent}"
        )
    return made


def _unable(config: Mapping[str, Any], device: str) -> str | None:
    """Which option asks for what openvino does not do here."""
    section, scheduling = config["generator"], config.get("scheduling") or {}
    if device != "cpu":
        return f"device={device}: it is for device=cpu"
    for knob, known in (("dtype", section["dtype"] in DTYPES), ("compile", not section["compile"])):
        if not known:
            return f"generator.{knob}={section[knob]} is this project's decoder's"
    if section["model"] != gguf_file.PACKAGED:
        return f"generator.model={section['model']}: generator=openvino takes other models"
    if config["server"]["name"] != "continuous":
        return None
    wanted = {"name": "fcfs", "slots": None, "kv_memory": None}
    other = [
        f"scheduling.{knob}={scheduling.get(knob)}"
        for knob, usual in wanted.items()
        if scheduling.get(knob) != usual
    ]
    return f"{other[0]}: it schedules by itself" if other else None


def _openvino(section: Mapping[str, Any]) -> Generator:
    knobs = defaults.section("generator", "openvino") | {name: section[name] for name in SHARED}
    knobs["kv_dtype"] = section["dtype"]
    made: Any = signatures.make("generator", knobs)
    made.chosen = f"generator.engine={section['engine']}: openvino computes"
    return made  # type: ignore[no-any-return]
