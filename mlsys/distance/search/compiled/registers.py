"""What the processor does in a row's innermost loops, in LLVM's vector instructions: Numba's own loops leave half the
time to loads, and a matrix product's scores would have to be written and read again.

A tile is scored in one of two forms. One query: several rows at once, each element beside its own of the query, and a
sum over the vector in the end. Many: queries side by side in a vector (`panel`), each element of a row against all of
them (Goto and van de Geijn, Anatomy of High-Performance Matrix Multiplication, 2008). Scores stay in registers until
they are compared with what each query has found so far.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

CACHE_LINE = 64  # bytes
LINE = 16  # elements of a vector along a row
AHEAD = 16  # elements of each row in one turn of the loop over a panel
FLOAT32, FLOAT16, BFLOAT16, INT8 = range(4)  # what rows are stored in
F32, I32, I64 = ir.FloatType(), ir.IntType(32), ir.IntType(64)


@intrinsic(prefer_literal=True)
def score_tile(  # type: ignore[no-untyped-def]
    _, rows, step, dim, panel, scale, scale_step, bias, bias_step, least, scores, passed, height, width, cityblock
):  # fmt: skip
    """Score `height` rows against `width` queries; whether any score is above what its query has to beat.

    All but the last three are addresses and distances in bytes. rows: `height` of dim float32, `step` apart. panel:
    (dim, width) float32. A score is the sum times `scale` plus `bias`, each a float32 a row. least: (width,) float32.
    scores: out, (height, width). passed: out, a bit for each query of each row, (height,) int64.
    """
    # the literals are in the signature, for Numba keeps one implementation of each
    signature = types.int64(*[types.int64] * 11, height, width, cityblock)
    height, width, form = height.literal_value, width.literal_value, bool(cityblock.literal_value)

    def generate(_context, builder, _signature, arguments):  # type: ignore[no-untyped-def]
        rows, step, dim, panel, scale, scale_step, bias, bias_step, least, scores, passed = arguments[:11]
        build = _Builder(builder, form)
        lines = [builder.add(rows, builder.mul(step, I64(row))) for row in range(height)]
        following = builder.add(rows, builder.mul(step, I64(height)))
        factors, terms = (
            [build.load(F32, builder.add(at, builder.mul(by, I64(row)))) for row in range(height)]
            for at, by in ((scale, scale_step), (bias, bias_step))
        )
        if width > 1:
            sums = build.against_panel(lines, following, panel, dim, width)
            bits = build.compared(sums, factors, terms, least, scores, width)
        else:
            sums = build.against_one(lines, panel, dim)
            bits = build.compared_across(sums, factors, terms, least, scores)
        found = I64(0)
        for row, passing in enumerate(bits):
            build.store(passing, builder.add(passed, I64(8 * row)))
            found = builder.or_(found, passing)
        return found

    return signature, generate


@intrinsic(prefer_literal=True)
def widen(_, source, target, count, kind):  # type: ignore[no-untyped-def]
    """Write `count` elements stored as `kind` at an address as float32 to another."""
    stored = {FLOAT16: ir.HalfType(), BFLOAT16: ir.IntType(16), INT8: ir.IntType(8)}[kind.literal_value]
    size = 1 if kind.literal_value == INT8 else 2

    def widened(builder: Any, value: Any, shape: Any) -> Any:
        if kind.literal_value == FLOAT16:
            return builder.fpext(value, shape(F32))
        if kind.literal_value == INT8:
            return builder.sitofp(value, shape(F32))
        high = builder.shl(builder.zext(value, shape(I32)), ir.Constant(shape(I32), shape.sixteen))
        return builder.bitcast(high, shape(F32))

    def generate(context, builder, _signature, arguments):  # type: ignore[no-untyped-def]
        source, target, count, _ = arguments
        build = _Builder(builder, False)

        def copy(at: Any, shape: Any) -> None:
            value = build.load(shape(stored), builder.add(source, builder.mul(at, I64(size))))
            build.store(widened(builder, value, shape), builder.add(target, builder.mul(at, I64(4))))

        build.steps(count, LINE, lambda at: copy(at, _line), lambda at: copy(at, _single))
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64, kind), generate


def _line(element: Any) -> Any:
    return ir.VectorType(element, LINE)


def _single(element: Any) -> Any:
    return element


_line.sixteen, _single.sixteen = [16] * LINE, 16  # type: ignore[attr-defined]


class _Builder:
    """llvmlite's builder with addresses as numbers, and the two forms of a tile."""

    def __init__(self, builder: Any, cityblock: bool) -> None:
        self.builder, self.cityblock = builder, cityblock

    def load(self, kind: Any, address: Any) -> Any:
        return self.builder.load(self.builder.inttoptr(address, kind.as_pointer()), align=1)

    def store(self, value: Any, address: Any) -> None:
        self.builder.store(value, self.builder.inttoptr(address, value.type.as_pointer()), align=1)

    def prefetch(self, address: Any) -> None:
        """Have the line at an address fetched from memory; one that is not the process' own does no harm."""
        byte = ir.IntType(8).as_pointer()
        kind = ir.FunctionType(ir.VoidType(), [byte, I32, I32, I32])
        function = cgutils.get_or_insert_function(self.builder.module, kind, "llvm.prefetch.p0")
        read, second_level, data = 0, 2, 1
        self.builder.call(
            function, [self.builder.inttoptr(address, byte), I32(read), I32(second_level), I32(data)]
        )

    def splat(self, value: Any, width: int) -> Any:
        one = self.builder.insert_element(ir.Constant(ir.VectorType(F32, width), None), value, I32(0))
        return self.builder.shuffle_vector(one, one, ir.Constant(ir.VectorType(I32, width), [0] * width))

    def plus(self, total: Any, x: Any, y: Any) -> Any:
        """The sum and one term more: x·y, or |x - y|."""
        may = ("contract",)
        if not self.cityblock:
            return self.builder.fadd(total, self.builder.fmul(x, y, flags=may), flags=may)
        whole = ir.VectorType(I32, x.type.count)
        bits = self.builder.bitcast(self.builder.fsub(x, y), whole)
        bits = self.builder.and_(bits, ir.Constant(whole, [0x7FFFFFFF] * x.type.count))
        return self.builder.fadd(total, self.builder.bitcast(bits, x.type))

    def steps(
        self, count: Any, by: int, several: Callable[[Any], None], single: Callable[[Any], None]
    ) -> None:
        """`several` for each whole step of the count, `single` for each of the rest."""
        whole = self.builder.and_(count, I64(-by))
        for start, stop, step, body in ((I64(0), whole, by, several), (whole, count, 1, single)):
            with cgutils.for_range_slice(self.builder, start, stop, I64(step)) as (at, _):
                body(at)

    def against_panel(self, lines: list[Any], following: Any, panel: Any, dim: Any, width: int) -> list[Any]:
        """Sums of each row, vectors over the queries. The tile that is `following` is fetched meanwhile.

        It is fetched in the order of its addresses: the rows of a tile side by side would be more streams than the
        processor follows, which took 20 ms instead of 14 for 16 queries.
        """
        vector = ir.VectorType(F32, width)
        totals = [cgutils.alloca_once(self.builder, vector, zfill=True) for _ in lines]

        def term(at: Any, offset: int = 0) -> None:
            place = self.builder.add(at, I64(offset))
            y = self.load(vector, self.builder.add(panel, self.builder.mul(place, I64(4 * width))))
            for line, total in zip(lines, totals, strict=True):
                x = self.load(F32, self.builder.add(line, self.builder.mul(place, I64(4))))
                self.builder.store(self.plus(self.builder.load(total), self.splat(x, width), y), total)

        def several(at: Any) -> None:
            start = self.builder.add(following, self.builder.mul(at, I64(4 * len(lines))))
            for place in range(0, 4 * AHEAD * len(lines), CACHE_LINE):
                self.prefetch(self.builder.add(start, I64(place)))
            for offset in range(AHEAD):
                term(at, offset)

        self.steps(dim, AHEAD, several, term)
        return [self.builder.load(total) for total in totals]

    def against_one(self, lines: list[Any], query: Any, dim: Any) -> list[Any]:
        """Sums of each row, numbers."""
        vector = ir.VectorType(F32, LINE)
        none = ir.Constant(vector, [0.0] * LINE)
        sums = []
        for line in lines:  # one after the other: the processor fetches ahead best in one stream
            total = cgutils.alloca_once(self.builder, vector, zfill=True)

            def add(at: Any, kind: Any, line: Any = line, total: Any = total) -> None:
                offset = self.builder.mul(at, I64(4))
                x, y = (self.load(kind, self.builder.add(place, offset)) for place in (line, query))
                if kind is F32:
                    x, y = (self.builder.insert_element(none, value, I32(0)) for value in (x, y))
                self.builder.store(self.plus(self.builder.load(total), x, y), total)

            self.steps(dim, LINE, partial(add, kind=vector), partial(add, kind=F32))
            sums.append(self.across(self.builder.load(total)))
        return sums

    def across(self, vector: Any) -> Any:
        """The sum over a vector, by halves."""
        width = vector.type.count
        while width > 1:
            width //= 2
            low, high = (
                self.builder.shuffle_vector(
                    vector,
                    vector,
                    ir.Constant(ir.VectorType(I32, width), [*range(first, first + width)]),
                )
                for first in (0, width)
            )
            vector = self.builder.fadd(low, high)
        return self.builder.extract_element(vector, I32(0))

    def compared(
        self, sums: list[Any], factors: list[Any], terms: list[Any], least: Any, scores: Any, width: int
    ) -> list[Any]:
        """Store the scores of each row; which queries' are above `least`, as bits."""
        floor = self.load(ir.VectorType(F32, width), least)
        bits = []
        for row, (total, factor, term) in enumerate(zip(sums, factors, terms, strict=True)):
            score = self.builder.fadd(
                self.builder.fmul(total, self.splat(factor, width)), self.splat(term, width)
            )
            self.store(score, self.builder.add(scores, I64(4 * width * row)))
            bits.append(self.bits(score, floor))
        return bits

    def compared_across(
        self, sums: list[Any], factors: list[Any], terms: list[Any], least: Any, scores: Any
    ) -> list[Any]:
        """The same for one query: rows side by side in a vector."""
        total, factor, term = (self.together(values) for values in (sums, factors, terms))
        score = self.builder.fadd(self.builder.fmul(total, factor), term)
        self.store(score, scores)
        bits = self.bits(score, self.splat(self.load(F32, least), len(sums)))
        return [self.builder.and_(self.builder.lshr(bits, I64(row)), I64(1)) for row in range(len(sums))]

    def together(self, values: list[Any]) -> Any:
        vector = ir.Constant(ir.VectorType(F32, len(values)), None)
        for place, value in enumerate(values):
            vector = self.builder.insert_element(vector, value, I32(place))
        return vector

    def bits(self, score: Any, floor: Any) -> Any:
        above = self.builder.fcmp_ordered(">", score, floor)
        return self.builder.zext(self.builder.bitcast(above, ir.IntType(score.type.count)), I64)
