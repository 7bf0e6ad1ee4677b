"""How Triton kernels choose the largest of many numbers in one program: bit by bit.

From the highest bit on, a bit of the threshold stays set while at least so many numbers reach it. A selection takes as
many steps as a number has bits, however many are chosen, and ends once as many as wanted reach the threshold.
"""

from __future__ import annotations

from mlsys.distance.language import jit, tl


@jit
def ordered32(value):  # type: ignore[no-untyped-def]
    """Float32 values as uint32 in the same order; 0 is below all of them."""
    bits = value.to(tl.int32, bitcast=True)
    return ((bits ^ ((bits >> 31) & 0x7FFFFFFF)) ^ -2147483648).to(tl.uint32, bitcast=True)


@jit
def value_of(order):  # type: ignore[no-untyped-def]
    """The float32 of `ordered32`; -inf for 0."""
    bits = order.to(tl.int32, bitcast=True) ^ -2147483648
    bits = bits ^ ((bits >> 31) & 0x7FFFFFFF)
    return tl.where(order == 0, -float("inf"), bits.to(tl.float32, bitcast=True))


@jit
def ordered64(value):  # type: ignore[no-untyped-def]
    """Float64 values as int64 in the same order; no nan, and -0 is 0."""
    bits = (value + 0.0).to(tl.int64, bitcast=True)
    return bits ^ ((bits >> 63) & 0x7FFFFFFFFFFFFFFF)


@jit
def shortened(value, BITS: tl.constexpr):  # type: ignore[no-untyped-def]
    """`ordered64` without the lowest BITS."""
    return (ordered64(value) >> BITS) << BITS


@jit
def upper(value):  # type: ignore[no-untyped-def]
    """The upper halves of `ordered64` as uint32: in the same order, but for values that share them."""
    return ((ordered64(value) >> 32) + 0x80000000).to(tl.uint32)


@jit
def reached_by(values, count):  # type: ignore[no-untyped-def]
    """A number that exactly `count` of `values`, uint32, reach, or if there is none the largest that more reach.

    It begins with the bits that all but the least numbers (-inf in `ordered32`, nothing) share, if those are enough.
    """
    most = tl.max(values, axis=0)
    real = values > 0x007FFFFF
    enough = tl.sum(real.to(tl.int32), axis=0) >= count
    apart = most ^ tl.min(tl.where(real, values, most), axis=0)
    apart = tl.where(enough, apart, apart | 0xFFFFFFFF)
    bit = tl.full([], 0x80000000, tl.uint32)
    while bit > apart:
        bit = bit >> 1
    reached = tl.where(bit == 0, most, most & ((bit | (bit - 1)) ^ 0xFFFFFFFF))
    while bit != 0:
        more = reached | bit
        number = tl.sum((values >= more).to(tl.int32), axis=0)
        reached = tl.where(number >= count, more, reached)
        bit = tl.where(number == count, bit & 0, bit >> 1)
    return reached


@jit
def largest(values, m):  # type: ignore[no-untyped-def]
    """Which of `values`, see `ordered32`, are the m largest, of equal ones the first; and the largest of the others."""
    least = reached_by(values, m)
    taken = values >= least
    if tl.sum(taken.to(tl.int32), axis=0) > m:
        above = values > least
        wanted = m - tl.sum(above.to(tl.int32), axis=0)
        taken = above | (taken & (tl.cumsum((values == least).to(tl.int32), axis=0) <= wanted))
    return taken, tl.max(tl.where(taken, values & 0, values), axis=0)
