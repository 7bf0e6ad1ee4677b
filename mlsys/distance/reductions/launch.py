"""Launching a Triton kernel at the cost of the launch alone.

`kernel[grid](…)` inspects every argument on every call to find the compiled version that suits. Here a
compiled version is chosen once for a set of arguments and called directly. What Triton would have looked at
is this module's duty: the device, the argument types (fixed by the kernel's caller), and whether the vectors
are aligned to 16 bytes. Integers are compiled for any value, and memory that torch allocates is always
aligned.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
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
        self._values = tuple(self.constants.values())
        self._compiled: dict[tuple[bool, bool], Any] = {}

    def bind(self, programs: int, *arguments: torch.Tensor | int) -> Call:
        """A call that launches `programs` programs on these arguments, on the stream current when it is
        called."""
        if INTERPRETED:
            return lambda: self._interpret(programs, arguments)
        raw = [a.data_ptr() if isinstance(a, torch.Tensor) else a for a in arguments]
        alignment = (raw[0] % ALIGNMENT == 0, raw[1] % ALIGNMENT == 0)
        first = arguments[0]
        assert isinstance(first, torch.Tensor)
        compiled = self._compiled.get(alignment) or self._compile(alignment, first.device, arguments)
        return partial(self._launch, compiled[(programs, 1, 1)], first.device.index, (*raw, *self._values))

    def _compile(self, alignment: tuple[bool, bool], device: torch.device, arguments: tuple[Any, ...]) -> Any:
        with torch.cuda.device(device):
            compiled = self.function.warmup(*arguments, *self._values, grid=(1,), num_warps=self.warps)
            compiled[(1, 1, 1)]  # loads it onto the device
        self._compiled[alignment] = compiled
        return compiled

    @staticmethod
    def _launch(run: Callable[..., None], device: int, arguments: tuple[Any, ...]) -> None:
        if torch.cuda.current_device() == device:
            run(*arguments)
        else:
            with torch.cuda.device(device):
                run(*arguments)

    def _interpret(self, programs: int, arguments: tuple[torch.Tensor | int, ...]) -> None:
        with np.errstate(all="ignore"):
            self.function[(programs,)](*arguments, **self.constants)
