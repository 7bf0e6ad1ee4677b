"""Answers are the same to the bit under every torch state a program may be in, and leave all of it as it was."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from operator import attrgetter
from typing import Any

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.overrides import TorchFunctionMode
from torch.utils.flop_counter import FlopCounterMode

from mlsys.distance import distance, plan, reference, stream
from mlsys.distance.isolation import exposed, isolation
from mlsys.distance.language import why_not
from mlsys.distance.search import Index, search
from mlsys.distance.search.streamed import StreamedIndex
from mlsys.distance.source import TensorSource
from mlsys.distance.threads import torch_threads
from mlsys.errors import UserError
from mlsys.rag.retriever.exact import Exact

METRICS = ("l2", "sqeuclidean", "l1", "cosine", "dot")
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]
PRECISIONS = {
    "backends": torch.backends,
    **{
        name: attrgetter(name)(torch.backends)
        for name in ("cuda", "cuda.matmul", "cudnn", "cudnn.conv", "mkldnn", "mkldnn.matmul")
    },
}
State = Callable[[], AbstractContextManager[Any]]


class Doubling(TorchFunctionMode):
    """Makes all tensors of whoever is inside twice what was asked for."""

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        floating = isinstance(result, torch.Tensor) and result.is_floating_point()
        return torch.mul(result, 2) if floating else result


def precisions() -> list[tuple[Any, str]]:
    return [
        (place, place.fp32_precision) for place in PRECISIONS.values() if hasattr(place, "fp32_precision")
    ]


@contextmanager
def kept_precisions() -> Iterator[None]:
    """Each is put back, the general ones first: setting one changes those below it."""
    before = precisions()
    try:
        yield
    finally:
        torch.set_float32_matmul_precision("highest")
        for place, precision in before:
            place.fp32_precision = precision


@contextmanager
def precision(where: str, value: str) -> Iterator[None]:
    with kept_precisions():
        PRECISIONS[where].fp32_precision = value
        yield


@contextmanager
def legacy_precision(value: str) -> Iterator[None]:
    with kept_precisions():
        torch.set_float32_matmul_precision(value)
        yield


@contextmanager
def setting(change: Callable[[Any], object], value: Any, before: Any) -> Iterator[None]:
    change(value)
    try:
        yield
    finally:
        change(before)


@contextmanager
def threads(count: int) -> Iterator[None]:
    with setting(torch.set_num_threads, count, torch.get_num_threads()):
        yield


STATES: dict[str, State] = {
    "autocast cpu bfloat16": partial(torch.autocast, "cpu", dtype=torch.bfloat16),
    "autocast cpu float16": partial(torch.autocast, "cpu", dtype=torch.float16),
    "inference_mode": torch.inference_mode,
    "no_grad": torch.no_grad,
    "enable_grad": torch.enable_grad,
    "set_grad_enabled": partial(torch.set_grad_enabled, False),
    "default dtype float64": partial(setting, torch.set_default_dtype, torch.float64, torch.float32),
    "default dtype float16": partial(setting, torch.set_default_dtype, torch.float16, torch.float32),
    "with device": partial(torch.device, "meta"),
    "default device": partial(setting, torch.set_default_device, "meta", None),
    "function mode": Doubling,
    "dispatch mode": partial(FlopCounterMode, display=False),
    "fake tensor mode": FakeTensorMode,
    "deterministic": partial(setting, torch.use_deterministic_algorithms, True, False),
    "one thread": partial(threads, 1),
    "three threads": partial(threads, 3),
    "torch flushes": partial(setting, torch.set_flush_denormal, True, False),
    "numpy raises": partial(np.errstate, all="raise"),
    "legacy medium": partial(legacy_precision, "medium"),
    "legacy high": partial(legacy_precision, "high"),
    **{
        f"{where} {value}": partial(precision, where, value)
        for where in PRECISIONS
        for value in (["tf32", "bf16"] if where in ("backends", "mkldnn", "mkldnn.matmul") else ["tf32"])
    },
}
GPU_STATES: dict[str, State] = {
    "autocast cuda bfloat16": partial(torch.autocast, "cuda", dtype=torch.bfloat16),
    "autocast cuda float16": partial(torch.autocast, "cuda", dtype=torch.float16),
    "another device": partial(torch.device, "cuda"),
}
ALL_STATES = [
    *(pytest.param("cpu", state) for state in STATES),
    *(pytest.param("cuda", state, marks=pytest.mark.gpu) for state in (*STATES, *GPU_STATES)),
]


def snapshot() -> dict[str, Any]:
    """All of the state above, as this thread sees it."""
    try:
        legacy = torch.get_float32_matmul_precision()
    except RuntimeError:  # the new interface was used
        legacy = "mixed"
    return {
        "autocast": [(torch.is_autocast_enabled(d), torch.get_autocast_dtype(d)) for d in ("cpu", "cuda")],
        "inference": torch.is_inference_mode_enabled(),
        "grad": torch.is_grad_enabled(),
        "dtype": torch.get_default_dtype(),
        "device": str(torch.get_default_device()),
        "modes": (torch._C._len_torch_function_stack(), torch._C._len_torch_dispatch_stack()),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "threads": torch.get_num_threads(),
        "precision": [legacy, *(value for _, value in precisions())],
        "flushes": 5e-324 * float(np.float64(1)) == 0.0,
        "numpy": np.geterr(),
        "warnings": list(warnings.filters),
    }


class Given:
    """What is asked on a device, all of it made in no particular state."""

    def __init__(self, device: str) -> None:
        generator = torch.Generator().manual_seed(1)
        rows = torch.randn(9000, 64, generator=generator) + 4  # over 4 MiB, so that threads read them
        queries = rows[:16] * 1.01
        wide = torch.randn(2, 200_000, generator=generator, dtype=torch.float64)
        vectors = [
            (wide[0, :n].to(dtype), wide[1, :n].to(dtype))
            for n in (1000, 40_000, 200_000)
            for dtype in (torch.float64, torch.float32, torch.float16, torch.bfloat16)
        ]
        subnormal = (wide[:, :100] * 1e-42).float()
        vectors.append((subnormal[0], subnormal[1]))
        self.device, self.host, self.arrays = device, (rows, queries), (rows.numpy(), queries.numpy())
        self.sources = [(TensorSource(x), TensorSource(y)) for x, y in vectors[1:3]]
        self.vectors = [(x.to(device), y.to(device)) for x, y in vectors]
        self.rows, self.queries, self.few = rows.to(device), queries.to(device), queries[:3].to(device)
        self.halves = (self.few.half(), self.rows[:1000].half())
        self.outside = {metric: Index(self.rows, metric) for metric in METRICS}

    def answers(self, kernels: bool = True) -> list[Any]:
        """What the library says; `kernels` where Triton's may run (its interpreter knows one thread)."""
        found: list[Any] = [distance(x, y, metric) for x, y in self.vectors for metric in METRICS]
        x, y = self.arrays[0][0], self.arrays[0][1]
        found += [distance(x, y, metric) for metric in METRICS]
        found.append(plan(*self.vectors[1], "cosine")())
        for pair in self.sources:
            found += [stream(*pair, "l1")(), reference(*pair, "l2").value]
        if kernels and why_not(self.device) is None:
            found += [distance(*self.vectors[1], "l2", name) for name in ("single_pass", "hierarchical")]
        for metric in METRICS:
            found += search(self.queries, self.rows, 10, metric)
            found += search(*self.halves, 5, metric)
        found += self.outside["l2"].search(self.few, 200)
        found += StreamedIndex(self.host[0], "dot", self.device, 1 << 20).search(self.host[1], 10)
        exact = Exact(name="exact", metric="l2", filter=None)
        exact.load(self.arrays[0], self.device, "")
        found += exact.search(self.arrays[1], 3)
        return found


def bits(answers: list[Any]) -> list[tuple[str, Any]]:
    """Each as its dtype and bytes."""
    arrays = [np.asarray(a.cpu() if isinstance(a, torch.Tensor) else a) for a in answers]
    return [(str(array.dtype), array.tobytes()) for array in arrays]


_GIVEN: dict[str, tuple[Given, list[tuple[str, Any]]]] = {}


def given(device: str) -> tuple[Given, list[tuple[str, Any]]]:
    """What is asked on a device, once, and what is answered in the plain state."""
    if device not in _GIVEN:
        made = Given(device)
        _GIVEN[device] = made, bits(made.answers())
    return _GIVEN[device]


@pytest.mark.parametrize(("device", "state"), ALL_STATES)
def test_the_same_bits_in_every_state_which_stays_as_it_was(device: str, state: str) -> None:
    asked, plain = given(device)
    with (STATES | GPU_STATES)[state]():
        before = snapshot()
        inside = asked.answers()
        built = {metric: Index(asked.rows, metric) for metric in METRICS}
        assert snapshot() == before
    assert bits(inside) == plain
    for metric in METRICS:
        here, there = (found[metric].search(asked.few, 10) for found in (asked.outside, built))
        assert bits(list(here)) == bits(list(there))


@pytest.mark.parametrize("state", STATES)
def test_an_error_leaves_the_state_as_it_was(state: str) -> None:
    vector, rows = torch.ones(3), torch.ones(4, 3)
    bad = rows * torch.nan
    with STATES[state]():
        before = snapshot()
        for wrong in (partial(distance, vector, None), partial(search, bad, rows, 1)):
            with pytest.raises(UserError):
                wrong()
        assert snapshot() == before


@pytest.mark.parametrize("device", DEVICES)
def test_answers_may_be_written_to_whatever_the_state_they_come_from(device: str) -> None:
    rows = torch.rand(2000, 8, device=device)
    for _ in range(3):  # a graph on a GPU
        with torch.inference_mode():
            found = [distance(rows[0], rows[1]), *search(rows, rows, 2)]
    assert not any(answer.is_inference() for answer in found)


@pytest.mark.parametrize("device", DEVICES)
def test_rows_and_queries_made_in_inference_mode_are_searched_anywhere(device: str) -> None:
    with torch.inference_mode():
        rows = torch.rand(3000, 8, device=device)
    index = Index(rows)
    with torch.inference_mode():
        assert index.search(rows[:2], 1)[1].tolist() == [[0], [1]]
    assert index.search(rows[:2], 1)[1].tolist() == [[0], [1]]


@pytest.mark.parametrize("device", DEVICES)
def test_many_threads_at_once_in_states_of_their_own(device: str) -> None:
    asked, _ = given(device)
    plain = bits(asked.answers(kernels=device == "cuda"))
    mine = [nullcontext, *(STATES[name] for name in (
        "autocast cpu bfloat16", "inference_mode", "with device", "function mode", "torch flushes"))]  # fmt: skip
    failures: list[BaseException] = []

    def work(state: State) -> None:
        try:
            with state():
                before = snapshot()
                found = [asked.answers(kernels=device == "cuda") for _ in range(2)]
                after = snapshot()
            assert [bits(answers) for answers in found] == [plain] * 2
            assert after == before
        except BaseException as error:
            failures.append(error)

    with legacy_precision("medium"):
        before = snapshot()
        workers = [threading.Thread(target=work, args=[state]) for state in mine]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        assert snapshot() == before
    assert not failures


def test_the_plain_state_is_not_exposed_and_isolation_makes_it_so() -> None:
    assert not exposed()
    for name in (
        "autocast cpu bfloat16",
        "inference_mode",
        "function mode",
        "fake tensor mode",
        "torch flushes",
    ):
        with STATES[name]():
            assert exposed()
            with isolation():
                assert not exposed()
                assert not torch.ones(1).is_inference()
            assert exposed()


def test_a_limit_of_threads_is_one_of_the_states() -> None:
    asked, plain = given("cpu")
    with torch_threads(1):
        assert bits(asked.answers()) == plain
