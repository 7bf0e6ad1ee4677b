"""Whether what a load asks can be asked: checked before anything starts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mlsys.errors import UserError
from mlsys.loadtest.apis import TALKING
from mlsys.loadtest.arrivals import Script
from mlsys.loadtest.lengths import Lengths
from mlsys.loadtest.options import Load
from mlsys.loadtest.questions import Question


def check(load: Load, script: Script | None, config: Mapping[str, Any]) -> None:
    """Raises UserError where sessions cannot be had, or a trace that brings its own prompts is told what to ask."""
    api = config["server"].get("api", "rag")
    if load.turns > 1 and api not in TALKING:
        raise UserError(
            f"loadtest.turns={load.turns}: server.api={api} takes no conversation, only {', '.join(TALKING)}"
        )
    if script is None:
        return
    if load.turns > 1:
        raise UserError(f"loadtest.turns={load.turns}: the requests of a trace stand alone")
    if not script.makes_text:
        return
    if load.engine_ceiling:
        raise UserError("loadtest.engine_ceiling=true: the engine alone is not asked a trace's prompts")
    for knob in ("questions", "zipf_s"):
        if (value := getattr(load, knob)) is not None:
            raise UserError(
                f"loadtest.{knob}={value} is about questions, and loadtest.prompts=made asks none"
            )
    most, longest = config["server"].get("max_query_chars"), script.longest_query(config["seed"])
    if most is not None and longest > most:
        raise UserError(
            f"the longest prompt of the trace has {longest} characters, more than server.max_query_chars={most}:"
            " raise it (and server.max_body_bytes), or cut prompts with loadtest.max_input_tokens"
        )


def longest_answer(load: Load, script: Script | None, asked: Sequence[Question]) -> tuple[int | None, str]:
    """In tokens, and the option that says so. None: the generator's own."""
    if (longest := Lengths(load.output_tokens).longest) is not None:
        return longest, f"loadtest.output_tokens={load.output_tokens}"
    if script is not None:
        return script.longest_answer, "loadtest.path"
    told = [question.max_tokens for question in asked if question.max_tokens is not None]
    return max(told, default=None), f"loadtest.questions={load.questions}"
