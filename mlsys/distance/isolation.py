"""The library's answers do not depend on its caller's torch state, and leave all of that state as it was.

State is of two kinds, and each has its rule:

- A *thread's* state is set aside while a call lasts: autocast, inference mode, torch-function modes (`torch.device` and
  `set_default_device` are such modes), dispatch modes and the flushing of subnormal numbers. Threads cannot disturb
  each other in this. `isolated` does it at the library's entry points; threads of the library's own begin without.
- The *process'* state is never written, because threads that change and restore it undo each other: the default dtype,
  the precision of float32 products, deterministic algorithms, the number of threads, Python's warning filters. So code
  in this package names its dtypes and devices, `search.scores.product` goes another way where float32 products may be
  less than float32, and `threads` limits threads one by one.

Grad mode stays the caller's: inputs are detached, and `arrays` refuses those whose gradient would be lost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import wraps
from typing import ParamSpec, TypeVar

import torch
from torch.utils._python_dispatch import _disable_current_modes

P = ParamSpec("P")
R = TypeVar("R")

DEVICES = ("cpu", "cuda")  # on which the library computes
SUBNORMAL = 5e-324

_autocast = torch._C._is_any_autocast_enabled
_inference = torch.is_inference_mode_enabled
_function_mode = torch._C._is_torch_function_mode_enabled
_dispatch_modes = torch._C._len_torch_dispatch_stack


def exposed() -> bool:
    """Whether this thread's state could change an answer; a fifth of a microsecond."""
    return _inference() or _function_mode() or _dispatch_modes() > 0 or _autocast() or _flushes()


@contextmanager
def isolation() -> Iterator[None]:
    """This thread's state set aside."""
    with ExitStack() as stack:
        if _function_mode():
            stack.enter_context(torch._C.DisableTorchFunction())
        if _dispatch_modes():
            stack.enter_context(_disable_current_modes())
        if _inference():
            stack.enter_context(torch.inference_mode(False))
            stack.enter_context(torch.no_grad())  # as it was inside
        for device in DEVICES:
            if torch.is_autocast_enabled(device):
                stack.callback(torch.set_autocast_enabled, device, True)
                torch.set_autocast_enabled(device, False)
        if _flushes():
            stack.callback(torch.set_flush_denormal, True)
            torch.set_flush_denormal(False)
        yield


def isolated(function: Callable[P, R]) -> Callable[P, R]:
    """`function`, with the caller's state set aside while it runs."""

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        if not exposed():
            return function(*args, **kwargs)
        with isolation():
            return function(*args, **kwargs)

    return call


def _flushes() -> bool:
    return SUBNORMAL * 1.0 == 0.0
