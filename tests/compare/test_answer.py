"""What a comparison says first: who is faster where, by how much, how sure, and what next."""

from __future__ import annotations

from mlsys.compare.answer import answer
from mlsys.compare.judge import Line
from mlsys.compare.noise import Interval


def line(
    ratio: float, width: float, metric: str = "throughput_rps", load: float | None = 5, name: str = "all"
) -> Line:
    between = Interval(ratio, ratio / (1 + width), ratio * (1 + width), 0.02)
    return Line(0, name, load, metric, 1.0, ratio, between, (1, 1))


def test_it_names_the_faster_side_its_lead_and_where() -> None:
    said = answer([line(1.0, 0.05, load=1), line(1.5, 0.05, load=5), line(2.5, 0.05, load=20)], 0.95)
    assert said == [
        "B is faster: throughput_rps is 1.50 to 2.50 times A's at 5, 20; "
        "no detectable difference at 1 (higher is better).",
        "All of it together with 95 % confidence.",
    ]


def test_a_latency_is_better_if_it_is_lower() -> None:
    said = answer(
        [line(0.5, 0.01, "latency_ms", None, "l2"), line(1.3, 0.01, "latency_ms", None, "cosine")], 0.95
    )
    assert said[0] == (
        "B is faster: latency_ms is 0.50 times A's (l2); "
        "B is slower: latency_ms is 1.30 times A's (cosine) (lower is better)."
    )


def test_no_difference_says_what_would_not_have_been_seen_and_how_to_see_it() -> None:
    assert answer([line(1.0, 0.04)], 0.95) == [
        "No detectable difference in throughput_rps; less than 4 % would not show."
    ]
    said = answer([line(1.1, 0.3), line(1.0, 0.3)], 0.95)
    assert said[0] == "No detectable difference in 2 figures; less than 30 % would not show."
    assert said[1].startswith("Next: more runs of both")


def test_what_cannot_be_told_is_not_told_as_a_number() -> None:
    open_ended = Line(0, "all", 5, "throughput_rps", 1.0, 1.0, Interval(1.0, 0.0, 9.0, 0.02), (1, 1))
    assert "these runs could show none" in answer([open_ended], 0.95)[0]
