"""What a load asks, and whether it can be asked: known before anything starts."""

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


def bounded(config: Mapping[str, Any], asked: int | None, option: str) -> Mapping[str, Any]:
    """The configuration with `server.max_tokens` as a number: the service must know its longest answer as it starts.

    `asked`: the longest that the load asks for, `option`: where. Raises UserError where that is longer.
    """
    server, usual = config["server"], config["generator"].get("max_new_tokens")
    if server["name"] == "external" or usual is None:
        return config
    most = server.get("max_tokens")
    if most is None:
        most = max(usual, asked or 0) or None  # of 0 or less the generator says what is wrong
    elif asked is not None and asked > most:
        raise UserError(f"{option} asks for up to {asked} tokens, more than server.max_tokens={most}")
    return {**config, "server": {**server, "max_tokens": most}}


def expected_tokens(config: Mapping[str, Any]) -> int | None:
    """How many tokens an answer must have: with the end token off all have the same number."""
    if config["server"]["name"] == "external" or not config["generator"].get("fixed_length", True):
        return None
    tokens = config["generator"].get("max_new_tokens")
    return int(tokens) if tokens is not None else None
