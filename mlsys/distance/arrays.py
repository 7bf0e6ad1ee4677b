"""What a user hands over, as a tensor over the same memory: everything from which torch or NumPy can read numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch._C._functorch import is_functorch_wrapped_tensor
from torch._subclasses.fake_tensor import FakeTensor
from torch.autograd import forward_ad
from torch.utils.dlpack import from_dlpack

from mlsys.errors import UserError

DTYPES = (torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int8)
DEVICES = ("cpu", "cuda")
AT_ONCE = frozenset(map(np.dtype, ("f8", "f4", "f2", "i1")))  # which torch reads as they are

Array = np.ndarray[Any, Any]


def as_tensor(name: str, values: Any) -> torch.Tensor:
    """`values` as an ordinary detached tensor, over the same memory where that can be.

    Args:
        name: what the user calls it, for errors.
        values: a torch tensor (parameters, negated views), a NumPy array (any strides, alignment and byte order, a
            field of a structured array, read-only, `ml_dtypes.bfloat16`; a mask is ignored, as scipy does), an object
            with DLPack, or what NumPy makes an array of: lists (of whole numbers: as float64), pandas' Series.

    Raises:
        UserError: for a dtype that is not in DTYPES; a tensor whose gradient would be lost, as it requires grad in grad
            mode, or is dual; sparse, nested and quantized tensors; subclasses without elements of their own (DTensor,
            FakeTensor); a device that is not in DEVICES.
    """
    if type(values) is np.ndarray and values.flags.carray and values.dtype in AT_ONCE:
        return torch.from_numpy(values)
    if isinstance(values, torch.Tensor):
        tensor = values
    elif hasattr(values, "__dlpack__") and not isinstance(values, np.ndarray | np.generic):
        tensor = _from_dlpack(name, values)
    else:
        return _from_numpy(name, values)
    _check(name, tensor)
    return tensor.detach().as_subclass(torch.Tensor).resolve_neg()


def is_plain(values: Any) -> bool:
    """Whether `as_tensor` would make nothing of `values` but an alias. It takes a fifth of the time."""
    return (
        type(values) is torch.Tensor
        and values.dtype in DTYPES
        and values.layout is torch.strided
        and (values.is_cuda or values.is_cpu)
        and not (values.requires_grad or values.is_neg() or values.is_nested)
        and not (is_functorch_wrapped_tensor(values) or in_dual_level())
    )


def becomes_numpy(values: Any, tensor: torch.Tensor) -> bool:
    """Whether an answer to these values, read as `tensor`, is NumPy's: not for tensors, nor on a GPU."""
    return not isinstance(values, torch.Tensor) and not tensor.is_cuda


def loses_gradient(tensor: torch.Tensor) -> bool:
    """Whether a gradient, or in a dual level of forward mode a tangent, would end here."""
    if tensor.requires_grad:
        return torch.is_grad_enabled()
    return in_dual_level() and forward_ad.unpack_dual(tensor).tangent is not None


def in_dual_level() -> bool:
    """Whether tensors may carry tangents, in forward mode."""
    return forward_ad._current_level >= 0


def device_of(name: Any) -> torch.device:
    """The device of that name. Raises UserError for one that is not in DEVICES, or not here."""
    try:
        device = torch.device(name)
    except (RuntimeError, TypeError) as error:
        raise UserError(f"device={name} is none of {', '.join(DEVICES)}") from error
    if device.type not in DEVICES:
        raise UserError(f"device={name} is none of {', '.join(DEVICES)}")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UserError(
            f"device={name}: this machine has {torch.cuda.device_count()} GPUs that torch can use"
        )
    return device


def name_of(dtype: torch.dtype) -> str:
    """The name of a dtype without the module's."""
    return str(dtype).removeprefix("torch.")


def check_whole(name: str, value: Any) -> None:
    """Raise UserError for what is no whole number."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise UserError(f"{name}={value!r} must be a whole number")


def check_dtype(name: str, tensor: torch.Tensor) -> None:
    """Raise UserError for a tensor of a dtype that is not in DTYPES."""
    if tensor.dtype not in DTYPES:
        raise _wrong_dtype(name, name_of(tensor.dtype))


def check_kind(name: str, tensor: torch.Tensor) -> None:
    """Raise UserError for a tensor that no distance takes: of a layout, dtype or device, or with a tangent."""
    kind = type(tensor)
    if kind.__torch_dispatch__ is not torch.Tensor.__torch_dispatch__ and not isinstance(tensor, FakeTensor):
        raise UserError(f"{name} is a {kind.__name__} without elements of its own: pass an ordinary tensor")
    if tensor.layout != torch.strided or tensor.is_nested:
        layout = "nested" if tensor.is_nested else name_of(tensor.layout)  # type: ignore[arg-type]
        raise UserError(f"{name} is a {layout} tensor: pass a dense one, as of {name}.to_dense()")
    check_dtype(name, tensor)
    if tensor.device.type not in DEVICES:
        raise UserError(f"{name} is on {tensor.device}: distances run on {' and '.join(DEVICES)}")
    if in_dual_level() and forward_ad.unpack_dual(tensor).tangent is not None:
        raise UserError(
            f"{name} has a tangent, and distances have no derivative in forward mode: use backward, or pass "
            f"{name}.detach()"
        )


def _check(name: str, tensor: torch.Tensor) -> None:
    check_kind(name, tensor)
    if isinstance(tensor, FakeTensor) or is_functorch_wrapped_tensor(tensor):
        raise UserError(
            f"{name} is a {type(tensor).__name__} without elements of its own: pass an ordinary tensor"
        )
    if loses_gradient(tensor):
        raise UserError(
            f"{name} requires grad, and this call has no gradient: pass {name}.detach(), call in torch.no_grad(), or "
            "take mlsys.distance.distance, which has one"
        )


def tracked(values: Any) -> bool:
    """Whether torch must see what is computed of these values: a gradient, a transform of torch.func, fake elements."""
    if not isinstance(values, torch.Tensor):
        return False
    return loses_gradient(values) or is_functorch_wrapped_tensor(values) or isinstance(values, FakeTensor)


def _from_dlpack(name: str, values: Any) -> torch.Tensor:
    try:
        return from_dlpack(values)
    except (AttributeError, BufferError, RuntimeError, TypeError, ValueError) as error:
        raise UserError(f"{name}={type(values).__name__} cannot be read through DLPack: {error}") from error


def _from_numpy(name: str, values: Any) -> torch.Tensor:
    array = _array(name, values)
    if array.dtype.name not in map(name_of, DTYPES):
        raise _wrong_dtype(name, array.dtype)
    if array.dtype.name == "bfloat16":  # of ml_dtypes, which torch does not know
        return torch.from_numpy(_readable(array.view(np.uint16))).view(torch.bfloat16)
    return torch.from_numpy(_readable(array))


def _array(name: str, values: Any) -> Array:
    try:
        array = np.asarray(values)
    except (RuntimeError, TypeError, ValueError) as error:
        raise UserError(f"{name}={type(values).__name__} cannot be read as numbers: {error}") from error
    if isinstance(values, np.ndarray):
        return array
    if array.dtype.kind not in "biufcV":
        raise UserError(
            f"{name} must be a torch tensor, a numpy array or what numpy makes one of, not {type(values).__name__}"
        )
    whole = isinstance(values, list | tuple | range) and array.dtype.kind in "bui"
    return array.astype(np.float64) if whole else array


def _readable(array: Array) -> Array:
    """The array, copied where torch cannot address its elements; not marked read-only, of which torch would warn.

    Nothing here writes to it. Python's warning filters are the process', so the warning is not silenced by them.
    """
    size = array.itemsize
    plain = array.dtype.isnative and array.flags.aligned
    if not plain or any(stride < 0 or stride % size for stride in array.strides):
        array = array.astype(array.dtype.newbyteorder("="), order="C", copy=True)
    return array if array.flags.writeable else np.asarray(_Unlocked(array))


class _Unlocked:
    """A read-only array as NumPy's array interface describes a writable one; keeps it alive."""

    def __init__(self, array: Array) -> None:
        self.array = array
        address, _ = array.__array_interface__["data"]
        self.__array_interface__ = {**array.__array_interface__, "data": (address, False)}


def _wrong_dtype(name: str, dtype: object) -> UserError:
    return UserError(f"{name} has dtype {dtype}; distances take {', '.join(map(name_of, DTYPES))}")
