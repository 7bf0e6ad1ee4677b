"""A death may be retried in full, a storm may not."""

from hypothesis import given
from hypothesis import strategies as st

from mlsys.serving.balancer.budget import RetryBudget


def test_starts_full_then_earns_its_share() -> None:
    budget = RetryBudget(share=0.25, burst=3)
    assert [budget.spend() for _ in range(4)] == [True, True, True, False]
    for _ in range(3):
        budget.earn()
    assert not budget.spend()
    budget.earn()
    assert [budget.spend(), budget.spend()] == [True, False]


def test_a_reserve_is_left_untouched() -> None:
    budget = RetryBudget(share=0.0, burst=4)
    assert [budget.spend(reserve=0.5) for _ in range(3)] == [True, True, False]
    assert [budget.spend() for _ in range(3)] == [True, True, False]


@given(st.lists(st.booleans(), max_size=500))
def test_retries_never_exceed_burst_and_share(steps: list[bool]) -> None:
    budget = RetryBudget(share=0.5, burst=4)
    requests = retries = 0
    for is_request in steps:
        if is_request:
            requests += 1
            budget.earn()
        else:
            retries += budget.spend()
        assert retries <= 4 + 0.5 * requests
        assert 0 <= budget.left <= 4
