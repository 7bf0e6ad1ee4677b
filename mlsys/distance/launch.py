"""Launching a Triton kernel at the cost of the launch alone.

`kernel[grid](…)` inspects every argument on every call to find the compiled version that suits. Here a
compiled version is chosen once for a set of arguments and called directly. What Triton would have looked at
is this module's duty: the device, the argument types (fixed by the kernel's caller), and whether the vectors
are aligned to 16 bytes. Integers are compiled for any value, and memory that torch allocates is always
aligned.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from mlsys.distance.language import INTERPRETED, triton

ALIGNMENT = 16
Argument = torch.Tensor | int


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
        self._compiled: dict[tuple[bool, bool], Any] = {}

    def bind(self, programs: int, *arguments: Argument) -> Launch:
        """A launch of `programs` programs on these arguments, on the stream that is current when it is called."""
        first = arguments[0]
        assert isinstance(first, torch.Tensor)
        if INTERPRETED:
            return Launch(self._interpreted(programs), list(arguments), first.device)
        raw = [a.data_ptr() if isinstance(a, torch.Tensor) else a for a in arguments]
        alignment = (raw[0] % ALIGNMENT == 0, raw[1] % ALIGNMENT == 0)
        compiled = self._compiled.get(alignment) or self._compile(alignment, first.device, arguments)
        return Launch(compiled[(programs, 1, 1)], [*raw, *self.constants.values()], first.device)

    def _compile(self, alignment: tuple[bool, bool], device: torch.device, arguments: tuple[Any, ...]) -> Any:
        with torch.cuda.device(device):
            values = self.constants.values()
            compiled = self.function.warmup(*arguments, *values, grid=(1,), num_warps=self.warps)
            compiled[(1, 1, 1)]  # loads it onto the device
        self._compiled[alignment] = compiled
        return compiled

    def _interpreted(self, programs: int) -> Callable[..., None]:
        def run(*arguments: Argument) -> None:
            with np.errstate(all="ignore"):
                self.function[(programs,)](*arguments, **self.constants)

        return run


@dataclass(frozen=True, slots=True)
class Launch:
    """A compiled kernel, a grid and arguments, which are addresses and integers but for the interpreter."""

    run: Callable[..., None]
    arguments: list[Any]
    device: torch.device

    def __call__(self) -> None:
        """Launch."""
        self._launch(self.arguments)

    def on(self, places: tuple[int, ...], tensors: tuple[torch.Tensor, ...]) -> None:
        """Launch with other tensors, of the same alignment, in these places of the arguments."""
        arguments = self.arguments.copy()
        for place, tensor in zip(places, tensors, strict=True):
            arguments[place] = tensor if INTERPRETED else tensor.data_ptr()
        self._launch(arguments)

    def _launch(self, arguments: list[Any]) -> None:
        if INTERPRETED or torch.cuda.current_device() == self.device.index:
            self.run(*arguments)
        else:
            with torch.cuda.device(self.device):
                self.run(*arguments)


def current_stream(gpu: int) -> int:
    """Handle of the current stream of the GPU of this number. Faster than through a `torch.cuda.Stream`."""
    return int(triton.runtime.driver.active.get_current_stream(gpu))
