"""Options that check themselves."""

from __future__ import annotations

from typing import Any

import pytest

from mlsys.errors import UserError
from mlsys.knobs import Count, NotNegative, Positive, Share, knobs


@knobs("kettle")
class Kettle:
    """A class with knobs of every kind and something of its own."""

    cups: Count
    wait_ms: NotNegative
    limit: Count | None
    share: Share
    name: str
    loud: bool

    def __post_init__(self) -> None:
        self.wait_s = self.wait_ms / 1000


GOOD: dict[str, Any] = {"cups": 2, "wait_ms": 20, "limit": None, "share": 0.5, "name": "k", "loud": False}


def test_good_values_make_an_object_that_goes_on_by_itself() -> None:
    kettle = Kettle(**GOOD)
    assert (kettle.cups, kettle.limit, kettle.wait_s) == (2, None, 0.02)


def test_a_whole_number_may_be_written_as_hydra_reads_it() -> None:
    assert Kettle(**GOOD | {"cups": 1e3}).cups == 1000


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"cups": 0}, "kettle.cups=0 must be at least 1"),
        ({"cups": 1.5}, "kettle.cups=1.5 must be a whole number"),
        ({"cups": "abc"}, "kettle.cups=abc must be a whole number"),
        ({"cups": None}, "kettle.cups=None must be a whole number"),
        ({"wait_ms": -1}, "kettle.wait_ms=-1 must be at least 0"),
        ({"wait_ms": "abc"}, "kettle.wait_ms=abc must be a number"),
        ({"wait_ms": float("nan")}, "kettle.wait_ms=nan must be a finite number"),
        ({"limit": 0}, "kettle.limit=0 must be at least 1"),
        ({"share": 2}, "kettle.share=2 must be at most 1"),
        ({"name": 3}, "kettle.name=3 must be text"),
        ({"loud": "perhaps"}, "kettle.loud=perhaps must be true or false"),
        ({"cup": 3}, "there is no option kettle.cup"),
    ],
    ids=str,
)
def test_a_wrong_value_is_one_line_that_names_option_and_value(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as caught:
        Kettle(**GOOD | wrong)
    assert str(caught.value) == message


def test_a_knob_without_a_value_is_named() -> None:
    with pytest.raises(UserError, match=r"^kettle.cups is not set$"):
        Kettle(**{name: value for name, value in GOOD.items() if name != "cups"})


def test_a_class_that_inherits_has_the_knobs_of_both() -> None:
    @knobs("kettle")
    class Samovar(Kettle):
        """A kettle with a knob more."""

        taps: Positive

    assert Samovar(**GOOD, taps=2).wait_s == 0.02
    with pytest.raises(UserError, match=r"^kettle.taps=0 must be more than 0$"):
        Samovar(**GOOD, taps=0)
