"""Launching a Triton kernel at the cost of the launch alone.

`kernel[grid](…)` inspects every argument on every call to find the compiled version that suits. Here a
compiled version is chosen once for a set of arguments and called directly. What Triton would have looked at
is this module's duty: the device, the argument types (fixed by the kernel's caller), and whether the vectors
are aligned to 16 bytes. Integers are compiled for any value, and memory that torch allocates is always
aligned.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from mlsys.distance.language import INTERPRETED

ALIGNMENT = 16
Call = Callable[[], None]


class Kernel:
    """A Triton kernel with its constants bound.

    Args:
        function: the kernel; its parameters are tensors, then integers, then constants.
        constants: the constants by name; names that the kernel does not take are left out.
        warps: warps a program.

    The first two tensors may be the user's, of any alignment; all tensors of all calls lie on one device.
    """

    def __init__(self, function: Any, constants: dict[str, Any], warps: int) -> None:
        self.function, self.warps = function, warps
        self.constants = {name: constants[name] for name in function.arg_names if name in constants}
        self._compiled: dict[Any, Any] = {}

    def bind(self, programs: int, *arguments: torch.Tensor | int) -> Call:
        """A call that launches `programs` programs on these arguments, on the stream that is current when
        called."""
        if INTERPRETED:
            return lambda: self._interpret(programs, arguments)
        raw = [_raw(argument) for argument in arguments]
        aligned = tuple(pointer % ALIGNMENT == 0 for pointer in raw[:2])
        first = arguments[0]
        assert isinstance(first, torch.Tensor)
        if aligned not in self._compiled:
            with torch.cuda.device(first.device):
                compiled = self.function.warmup(
                    *arguments, *self.constants.values(), grid=(1,), num_warps=self.warps
                )
                compiled[(1, 1, 1)]  # loads it onto the device
                self._compiled[aligned] = compiled
        run = self._compiled[aligned][(programs, 1, 1)]
        return _bound(run, first.device, [*raw, *self.constants.values()])

    def _interpret(self, programs: int, arguments: tuple[torch.Tensor | int, ...]) -> None:
        with np.errstate(all="ignore"):
            self.function[(programs,)](*arguments, **self.constants)


def _raw(argument: torch.Tensor | int) -> int:
    return argument.data_ptr() if isinstance(argument, torch.Tensor) else argument


def _bound(run: Any, device: torch.device, arguments: list[Any]) -> Call:
    def call() -> None:
        if torch.cuda.current_device() == device.index:
            run(*arguments)
        else:
            with torch.cuda.device(device):
                run(*arguments)

    return call
