from __future__ import annotations

from made_rows import row

from mlsys.loadtest.rows import FAILED
from mlsys.loadtest.scraping.agreement import agreement, doubt

COUNTED = {
    "counters.requests": 2,
    "counters.output_tokens": 20,
    "counters.e2e_ms.mean": 1000.0,
    "counters.ttft_ms.mean": 100.0,
}


def test_the_clients_figures_over_the_services() -> None:
    rows = [row(0, 1, tokens=10), row(1, 2.1, tokens=10), row(0, 5, outcome=FAILED)]
    found = agreement(rows, COUNTED)
    assert found == {
        "counters.agreement.requests": 1.0,
        "counters.agreement.output_tokens": 1.0,
        "counters.agreement.e2e_ms.mean": 1.05,
    }
    assert doubt(COUNTED | found) is None


def test_streams_are_held_against_the_time_that_the_engine_wrote() -> None:
    streamed = row(0, 1.0, tokens=10, first_text_s=0.25)
    found = agreement([streamed], {"counters.decode_s": 0.75, "counters.ttft_ms.mean": 200.0})
    assert found == {"counters.agreement.decode_s": 1.0, "counters.agreement.ttft_ms.mean": 1.25}


def test_tokens_that_were_guessed_prove_nothing() -> None:
    found = agreement([row(0, 1, tokens=10, tokens_estimated=True)], COUNTED)
    assert "counters.agreement.output_tokens" not in found


def test_another_client_of_the_same_service_is_seen() -> None:
    found = agreement([row(0, 1, tokens=10)], COUNTED)
    assert doubt(COUNTED | found) == (
        "the service's own counters have 2 requests, the client 0.500 times that: does it serve others too?"
    )
