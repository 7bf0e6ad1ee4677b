"""A wrong value for a knob that no dataclass describes is one line: its class says what it takes."""

from __future__ import annotations

import re
from typing import Any, TypedDict, Unpack

import pytest

from mlsys import signatures
from mlsys.errors import UserError


class Mine:
    def __init__(
        self, min_size: int = 4, wait_ms: float | None = None, name: str = "mine", eager: bool = False
    ) -> None:
        raise AssertionError("checked before it is made")


class Bare:
    def __init__(self, min_size=4, share=0.5, anything=None, name="bare") -> None:  # type: ignore[no-untyped-def]
        raise AssertionError("checked before it is made")


class Bounded:
    def __init__(self, size: int, names: list[str]) -> None:
        self.size = size


class Shared(TypedDict):
    dtype: str
    tokens: int


class Sharing:
    def __init__(self, name: str, **shared: Unpack[Shared]) -> None:
        raise AssertionError("checked before it is made")


class Heir(Sharing):
    pass


class Open:
    def __init__(self, **more: Any) -> None:
        raise AssertionError("checked before it is made")


@pytest.mark.parametrize(
    ("target", "section", "line"),
    [
        (Mine, {"min_size": "abc"}, "batching.min_size=abc must be a whole number"),
        (Mine, {"min_size": 1.5}, "batching.min_size=1.5 must be a whole number"),
        (Mine, {"min_size": True}, "batching.min_size=True must be a whole number"),
        (Mine, {"min_size": None}, "batching.min_size=null must be a whole number"),
        (Mine, {"wait_ms": "soon"}, "batching.wait_ms=soon must be a number or null"),
        (Mine, {"eager": 1}, "batching.eager=1 must be true or false"),
        (
            Mine,
            {"name": "mine", "max_size": 3},
            "batching=mine has no max_size; it has min_size, wait_ms, name, eager",
        ),
        (Mine, {"name": 1.5}, "batching.name=1.5 must be text"),
        (Mine, {"eager": "maybe"}, "batching.eager=maybe must be true or false"),
        (Sharing, {"name": "s", "dtype": "f", "tokens": "x"}, "batching.tokens=x must be a whole number"),
        (
            Heir,
            {"name": "s", "dtype": "f", "tokens": 1, "model": "m"},
            "batching=s has no model; it has name, dtype, tokens",
        ),
        (Heir, {"name": "s", "dtype": "f"}, "batching.tokens is missing"),
        (Bounded, {"names": "a"}, "batching.names=a is no list: write batching.names=[a]"),
        (Bounded, {"names": ["a", 1]}, "batching.names=['a', 1] must be a list, each text"),
        (
            Bounded,
            {"name": "bounded", "names": []},
            "batching=bounded has no name; it has size, names",
        ),
        (Bounded, {"names": []}, "batching.size is missing"),
        (Bare, {"min_size": "abc"}, "batching.min_size=abc must be a number"),
        (Bare, {"share": [1]}, "batching.share=[1] must be a number"),
    ],
)
def test_a_wrong_value_names_knob_and_value(target: type, section: dict[str, Any], line: str) -> None:
    with pytest.raises(UserError, match=f"^{re.escape(line)}$"):
        signatures.check("batching", {"_target_": "mine.Mine", **section}, target)


@pytest.mark.parametrize(
    ("target", "section"),
    [
        (Mine, {"min_size": 3, "wait_ms": 2, "name": "x", "eager": True}),
        (Mine, {"wait_ms": None}),
        (Bare, {"min_size": 3.5, "share": 1, "anything": ["x"]}),
        (Open, {"foo": object()}),
    ],
)
def test_right_values_pass(target: type, section: dict[str, Any]) -> None:
    assert signatures.check("batching", section, target) == section


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        ({"wait_ms": 5}, {"wait_ms": 5.0}),
        ({"name": 2024}, {"name": "2024"}),
        (
            {"min_size": "8", "wait_ms": "1e3", "eager": "True"},
            {"min_size": 8, "wait_ms": 1000.0, "eager": True},
        ),
    ],
)
def test_a_value_is_taken_as_what_the_knob_is(given: dict[str, Any], taken: dict[str, Any]) -> None:
    found = signatures.check("batching", given, Mine)
    assert [(knob, value, type(value)) for knob, value in found.items()] == [
        (knob, value, type(value)) for knob, value in taken.items()
    ]


def test_a_class_that_needs_an_extra_which_is_not_there_names_the_extra(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def absent(name: str) -> None:
        raise ModuleNotFoundError("No module named 'aiohttp'", name="aiohttp")

    monkeypatch.setattr("importlib.metadata.requires", lambda name: ["aiohttp>=3; extra == 'serving'"])
    monkeypatch.setattr("mlsys.signatures.importlib.import_module", absent)
    with pytest.raises(UserError, match=r"^aiohttp is not installed: pip install 'mlsys\[serving\]'$"):
        signatures.named("corpus", {"_target_": "mlsys.rag.corpus.pydocs.Pydocs"})


@pytest.mark.parametrize("target", ["mlsys.rag.corpus.pydocs.Nothing", "mlsys.rag.nothing.Pydocs", "Pydocs"])
def test_a_class_that_is_not_there_is_named(target: str) -> None:
    with pytest.raises(UserError, match=r"^corpus\._target_"):
        signatures.named("corpus", {"_target_": target})
