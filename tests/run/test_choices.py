"""What options share is no option: it is neither chosen nor swept over."""

from __future__ import annotations

import subprocess
import sys

import pytest

from mlsys import defaults
from mlsys.errors import UserError
from mlsys.run import build, choices, config


def test_what_options_share_is_no_option() -> None:
    assert "_model" not in defaults.options("generator")
    with pytest.raises(UserError, match=r"^generator=_model is not an option; there are: \w+, model, "):
        choices.check(["generator=_model"])
    assert " _" not in config.groups()


@pytest.mark.parametrize(
    ("word", "read"),
    [
        ("generator=glob(*)", "generator=glob([*],exclude=[_*])"),
        ("generator=glob([s*,r*],exclude=random)", "generator=glob([s*,r*],exclude=[random,_*])"),
        ("generator=simulated,random", "generator=simulated,random"),
        ("generator.dtype=glob(*)", "generator.dtype=glob(*)"),
        ("-m", "-m"),
    ],
)
def test_a_sweep_over_all_options_leaves_it_out(word: str, read: str) -> None:
    assert choices.without_bases([word]) == [read]


@pytest.mark.parametrize(
    ("word", "read"),
    [
        ("server.parameters={temperature: 0}", "++server.parameters={temperature: 0}"),
        ("server.via={replica-1: a}", "++server.via={replica-1: a}"),
        ("server.body={question: a}", "server.body={question: a}"),
        ("loadtest.slo={e2e_ms: 5}", "loadtest.slo={e2e_ms: 5}"),
        ("nonsense.a={b: 1}", "nonsense.a={b: 1}"),
    ],
)
def test_what_fills_an_empty_mapping_is_added(word: str, read: str) -> None:
    assert choices.filled([word]) == [read]


TYPED = """
import sys
import hydra
from mlsys import defaults
from mlsys.run import build, config
config.register()
with hydra.initialize_config_dir(str(defaults.conf()), version_base="1.3"):
    plain = config.resolved(hydra.compose("config", ["server=batch", "generator.max_prompt_tokens=7"]))
assert "torch" not in sys.modules, "composing"
build.typed(plain)
assert "torch" not in sys.modules, "holding knobs against their classes"
"""


def test_composing_and_checking_a_service_cost_no_torch() -> None:
    assert subprocess.run([sys.executable, "-c", TYPED], check=False).returncode == 0


def test_knobs_of_what_is_not_built_are_checked_where_the_command_line_names_it() -> None:
    plain = {"server": None} | dict.fromkeys(build.TYPED)
    plain["generator"] = {"_target_": "mlsys.rag.generator.simulated.Simulated", "base_ms": "x"}
    assert build.typed(plain)["generator"] == plain["generator"]
    with pytest.raises(UserError, match=r"^generator.base_ms=x must be a number$"):
        build.typed(plain, {"generator"})


def test_a_field_that_a_knob_does_not_have_is_answered_with_those_it_has() -> None:
    config.register()
    words = ["server=batch", "retriever=usearch", "retriever.filter={author: me}"]
    assert choices.missing("retriever.filter", words) == "retriever.filter has source and nothing else"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("batching.max_sise", "did you mean batching.max_size?"),
        ("retriever.xyzzy", "retriever has metric, filter"),
        ("metrics", "did you mean metric?"),
        ("cost.x", "cost has from, request_ms,"),
        ("nothing.there", "--help lists the options"),
    ],
)
def test_what_there_is_not_is_answered_with_what_is_written_alike_or_with_all_there_is(
    name: str, said: str
) -> None:
    config.register()
    assert choices.missing(name, ["server=batch"]).startswith(f"there is no option {name}; {said}")


def test_a_list_of_options_is_no_option_and_is_not_taken_for_its_last_one() -> None:
    with pytest.raises(UserError, match=r"^fault=\[kill, stop\] is not an option"):
        choices.check(["fault=kill,[kill,stop]"])
