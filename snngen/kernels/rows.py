"""Rows: sums of weight rows, eight events at a time, by the vector instructions of the machine.

A row holds the weights of one source neuron as int8, or as 4- or 2-bit fields in stretches (see `Packed`). With codes c
of 8 bits and rows w, this adds sum over events of c * w to sums of int32, for one token or several that share the rows.

How: the fields of four rows are woven so that the four weights of a column lie side by side, as unsigned bytes u =
w + flip; one instruction (VPDPBUSD of AVX-512 VNNI; two VPMADDWD on AVX2) multiplies them with the four codes and adds
the products. sum c * u = sum c * w + flip * sum c, so what is too much does not depend on the column, and is taken off
when the sums are read. All of it wraps at 32 bits, so a result that fits is exact whatever came before.

`plain` says the same in plain loops: the specification of `add_eight`, and the path for codes beyond 8 bits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from llvmlite.binding import get_host_cpu_features
from numba import config, njit, types
from numba.core import cgutils

from snngen.kernels.lean import LEAN
from snngen.kernels.machine import declared, instruction

Ints: TypeAlias = npt.NDArray[np.integer[Any]]

BLOCK = 64  # columns that are added at once; rows are read, and sums kept, in whole blocks
GROUP = 8  # events that are added at once
LINE = 16  # int32 entries of a line of the cache
LARGEST = 127  # magnitude of a code that is added as it is; larger ones come in parts
LONG = 2048  # bytes of a row from which on rows are fetched one by one
AHEAD = 8192  # bytes of rows that are fetched before they are read
TILE, WHOLE = 2048, 4096  # sums that stay in the first-level cache; rows up to this long are read in one piece

I8, I16, I32, I64 = (ir.IntType(bits) for bits in (8, 16, 32, 64))


def vector_bytes(features: str) -> int:
    """Width of the vectors to use on a processor with these LLVM features, such as '+avx2,-avx512f'."""
    has = set(features.split(","))
    if {"+avx512vnni", "+avx512bw"} <= has:
        return 64
    return 32 if "+avx2" in has else 16


FEATURES = getattr(config, "CPU_FEATURES", None)  # set where Numba is told to compile for another processor
WIDTH = vector_bytes(get_host_cpu_features().flatten() if FEATURES is None else FEATURES)


def _vector(lane: ir.Type, count: int) -> ir.VectorType:
    return ir.VectorType(lane, count)


def _mask(places: list[int]) -> ir.Constant:
    return ir.Constant(_vector(I32, len(places)), places)


def _woven(builder: ir.IRBuilder, a: ir.Value, b: ir.Value, unit: int) -> list[ir.Value]:
    """The units (bytes) of a and b in turns, the first and the second half of every 16 bytes (PUNPCKL, PUNPCKH)."""
    halves = []
    for half in range(2):
        places: list[int] = []
        for lane in range(0, WIDTH, 16):
            for at in range(lane + 8 * half, lane + 8 * half + 8, unit):
                places += [*range(at, at + unit), *range(WIDTH + at, WIDTH + at + unit)]
        halves.append(builder.shuffle_vector(a, b, _mask(places)))
    return halves


def _multiplied(builder: ir.IRBuilder, sums: ir.Value, weights: ir.Value, codes: ir.Value) -> ir.Value:
    """sums + the products of four unsigned bytes and four signed bytes in every 32 bits."""
    lanes = _vector(I32, WIDTH // 4)
    if WIDTH == 64:
        kind = ir.FunctionType(lanes, [lanes] * 3)
        function = declared(builder.module, kind, "llvm.x86.avx512.vpdpbusd.512")
        return builder.call(function, [sums, builder.bitcast(weights, lanes), codes])
    shorts, eight = _vector(I16, WIDTH // 2), ir.Constant(_vector(I16, WIDTH // 2), [8] * (WIDTH // 2))
    w, c = builder.bitcast(weights, shorts), builder.bitcast(codes, shorts)
    even = builder.and_(w, ir.Constant(shorts, [255] * (WIDTH // 2)))
    pairs = (even, builder.ashr(builder.shl(c, eight), eight)), (builder.lshr(w, eight), builder.ashr(c, eight))
    for first, second in pairs:
        if WIDTH == 32:
            kind = ir.FunctionType(lanes, [shorts] * 2)
            function = declared(builder.module, kind, "llvm.x86.avx2.pmadd.wd")
            sums = builder.add(sums, builder.call(function, [first, second]))
            continue
        for half in range(2):
            part = _mask([2 * lane + half for lane in range(WIDTH // 4)])
            a, b = (builder.sext(builder.shuffle_vector(x, x, part), lanes) for x in (first, second))
            sums = builder.add(sums, builder.mul(a, b))
    return sums


def _spread(builder: ir.IRBuilder, codes: ir.Value) -> list[ir.Value]:
    """Of each four of a token's eight codes, a vector with these four in every lane."""
    lanes, words, spread = _vector(I32, WIDTH // 4), builder.bitcast(codes, I32.as_pointer()), []
    for k in range(GROUP // 4):
        word = builder.load(builder.gep(words, [I64(k)]), align=1)
        one = builder.insert_element(ir.Constant(lanes, ir.Undefined), word, I32(0))
        spread.append(builder.shuffle_vector(one, one, _mask([0] * (WIDTH // 4))))
    return spread


def _fields(builder: ir.IRBuilder, row: ir.Value, bits: int, stretch: int) -> ir.Value:
    """The fields of one stretch of a row, each plus half its range, as unsigned bytes."""
    if bits < 8:
        shorts = _vector(I16, WIDTH // 2)
        shift = ir.Constant(shorts, [bits * stretch] * (WIDTH // 2))
        row = builder.bitcast(builder.lshr(builder.bitcast(row, shorts), shift), row.type)
        row = builder.and_(row, ir.Constant(row.type, [(1 << bits) - 1] * WIDTH))
    return builder.xor(row, ir.Constant(row.type, [1 << (bits - 1)] * WIDTH))


def _adder(bits: int) -> Callable[..., None]:
    """The intrinsic that adds eight rows of weights of so many bits."""

    @instruction
    def add_eight(
        typing: Any, event: Any, coming: Any, weights: Any, width: Any, begin: Any, length: Any, codes: Any,
        tokens: Any, total: Any,
    ) -> Any:  # fmt: skip
        """total[t, s, j] += sum over k < 8 of codes[t, k] * (field s of weights[event[k], begin + j] + flip).

        event: (8,) rows, of `width` bytes. coming: (8,) rows that are soon read: they are fetched meanwhile.
        length: bytes of a row to read, in blocks. codes: (tokens, 8) int8. total: (tokens, 8 // bits stretches, length)
        int32, columns in the order that `unweave` mends.
        """
        arguments = (event, coming, weights, width, begin, length, codes, tokens, total)

        def generate(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
            given = [
                context.make_array(kind)(context, builder, value).data if isinstance(kind, types.Array) else value
                for kind, value in zip(signature.args, values, strict=True)
            ]
            _call(builder, bits, given)
            return context.get_dummy_value()

        return types.void(*arguments), generate

    return add_eight


def _call(builder: ir.IRBuilder, bits: int, given: list[ir.Value]) -> None:
    """Call the function for several tokens, or for one and short rows, or for one and long rows."""
    length, tokens = given[5], given[7]
    with builder.if_else(builder.icmp_signed(">", tokens, I64(1))) as (several, one):
        with several:
            builder.call(_function(builder.module, bits, alone=False, long=False), given)
        with one, builder.if_else(builder.icmp_signed(">=", length, I64(LONG))) as lengths:
            for branch, long in zip(lengths, (True, False), strict=True):
                with branch:
                    builder.call(_function(builder.module, bits, alone=True, long=long), given)


def _function(module: ir.Module, bits: int, alone: bool, long: bool) -> ir.Function:
    """What `add_eight` calls: functions of their own, so that their many instructions stand once in a kernel.

    alone: for one token, whose codes stay in registers. long: coming rows are fetched one after the other, as memory
    likes it; short ones are fetched all at once.
    """
    name = f"snngen_add_eight_of_{bits}_by_{WIDTH}{'_alone' * alone}{'_long' * long}"
    if name in module.globals:
        return module.globals[name]
    pointers = I32.as_pointer(), I8.as_pointer()
    kind = ir.FunctionType(ir.VoidType(), [pointers[0], *pointers, I64, I64, I64, pointers[1], I64, pointers[0]])
    function = ir.Function(module, kind, name)
    function.linkage = "linkonce_odr"
    function.attributes.add("noinline")
    builder = ir.IRBuilder(function.append_basic_block())
    event, coming, weights, width, begin, length, codes, tokens, total = function.args
    rows = [_row(builder, event, I64(k), weights, width, begin) for k in range(GROUP)]
    spread = _spread(builder, codes)

    def columns(first: ir.Value, last: ir.Value, fetched: list[ir.Value], lines: int) -> None:
        with cgutils.for_range_slice(builder, first, last, I64(WIDTH), I64) as (j, _):
            _fetch(builder, fetched, builder.mul(builder.sub(j, first), I64(lines)))
            for stretch in range(8 // bits):
                quads = _quads(builder, rows, j, bits, stretch)
                into = builder.gep(total, [builder.add(builder.mul(I64(stretch), length), j)])
                if alone:
                    _accumulate(builder, quads, spread, into)
                    continue
                with cgutils.for_range(builder, tokens) as loop:
                    skipped = builder.mul(builder.mul(loop.index, I64(8 // bits)), length)
                    payloads = builder.gep(codes, [builder.mul(loop.index, I64(GROUP))])
                    _accumulate(builder, quads, _spread(builder, payloads), builder.gep(into, [skipped]))

    if long:  # one coming row, eight lines of it at a time, while an eighth of the columns is added
        part = builder.and_(builder.add(builder.lshr(length, I64(3)), I64(BLOCK - 1)), I64(-BLOCK))
        with cgutils.for_range(builder, I64(GROUP)) as loop:
            first, one = builder.mul(loop.index, part), _row(builder, coming, loop.index, weights, width, begin)
            last = builder.add(first, part)
            last = builder.select(builder.icmp_signed("<", last, length), last, length)
            columns(first, last, [builder.gep(one, [I64(BLOCK * k)]) for k in range(GROUP)], GROUP)
    else:
        columns(I64(0), length, [_row(builder, coming, I64(k), weights, width, begin) for k in range(GROUP)], 1)
    builder.ret_void()
    return function


def _fetch(builder: ir.IRBuilder, places: list[ir.Value], ahead: ir.Value) -> None:
    """Bring the lines that lie `ahead` of all places into the cache."""
    prefetch = builder.module.declare_intrinsic(
        "llvm.prefetch", [I8.as_pointer()], ir.FunctionType(ir.VoidType(), [I8.as_pointer(), I32, I32, I32])
    )
    for place in places:
        builder.call(prefetch, [builder.gep(place, [ahead]), I32(0), I32(3), I32(1)])  # to read, near, data


def _row(
    builder: ir.IRBuilder, numbers: ir.Value, k: ir.Value, weights: ir.Value, width: ir.Value, begin: ir.Value
) -> ir.Value:
    """Where the part of row numbers[k] lies that begins at `begin`."""
    number = builder.sext(builder.load(builder.gep(numbers, [k])), I64)
    return builder.gep(weights, [builder.add(builder.mul(number, width), begin)])


def _quads(builder: ir.IRBuilder, rows: list[ir.Value], j: ir.Value, bits: int, stretch: int) -> list[list[ir.Value]]:
    """Of each four rows, the four vectors in which four weights of a column lie side by side."""
    loaded = []
    for row in rows:
        place = builder.bitcast(builder.gep(row, [j]), _vector(I8, WIDTH).as_pointer())
        loaded.append(_fields(builder, builder.load(place, align=1), bits, stretch))
    groups = []
    for k in range(0, GROUP, 4):
        low, high = _woven(builder, loaded[k], loaded[k + 1], 1), _woven(builder, loaded[k + 2], loaded[k + 3], 1)
        groups.append([quad for half in range(2) for quad in _woven(builder, low[half], high[half], 2)])
    return groups


def _accumulate(
    builder: ir.IRBuilder, groups: list[list[ir.Value]], spread: list[ir.Value], into: ir.Value
) -> None:  # fmt: skip
    """Add the products of the quads of all groups with their codes to the sums."""
    lanes = builder.bitcast(into, _vector(I32, WIDTH // 4).as_pointer())
    for q in range(4):
        place = builder.gep(lanes, [I64(q)])
        sums = builder.load(place, align=4)
        for quads, code in zip(groups, spread, strict=True):
            sums = _multiplied(builder, sums, quads[q], code)
        builder.store(sums, place, align=4)


add_eight_of_8, add_eight_of_4, add_eight_of_2 = _adder(8), _adder(4), _adder(2)


@instruction
def unweave(typing: Any, length: Any, total: Any) -> Any:
    """Bring the sums, in whole blocks, into the order of their columns."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
        length, total = values[0], context.make_array(signature.args[1])(context, builder, values[1]).data
        four = _vector(I32, 4)
        with cgutils.for_range_slice(builder, I64(0), length, I64(WIDTH), I64) as (j, _):
            places = builder.bitcast(builder.gep(total, [j]), four.as_pointer())
            parts = [builder.load(builder.gep(places, [I64(k)]), align=4) for k in range(WIDTH // 4)]
            for k, part in enumerate(parts):
                quad, lane = divmod(k, WIDTH // 16)
                builder.store(part, builder.gep(places, [I64(4 * lane + quad)]), align=4)
        return context.get_dummy_value()

    return types.void(length, total), generate


@instruction
def compact_sixteen(typing: Any, code: Any, i: Any, number: Any, event: Any, payload: Any, active: Any) -> Any:
    """Append those of code[i : i + 16] that are not zero to the events, of which there are some; the new count.

    number: of neuron i. AVX-512 only (VPCOMPRESSD); up to 16 entries beyond the new count are overwritten.
    """

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
        code, i, number, event, payload, active = (
            context.make_array(kind)(context, builder, value).data if isinstance(kind, types.Array) else value
            for kind, value in zip(signature.args, values, strict=True)
        )
        lanes, bits = _vector(I32, 16), _vector(ir.IntType(1), 16)
        place = builder.bitcast(builder.gep(code, [i]), lanes.as_pointer())
        values = builder.load(place, align=4)
        mask = builder.icmp_signed("!=", values, ir.Constant(lanes, [0] * 16))
        one = builder.insert_element(ir.Constant(lanes, ir.Undefined), builder.trunc(number, I32), I32(0))
        numbers = builder.add(builder.shuffle_vector(one, one, _mask([0] * 16)), ir.Constant(lanes, list(range(16))))
        kind = ir.FunctionType(lanes, [lanes, lanes, bits])
        compress = declared(builder.module, kind, "llvm.x86.avx512.mask.compress.v16i32")
        for what, target in ((numbers, event), (values, payload)):
            packed = builder.call(compress, [what, ir.Constant(lanes, [0] * 16), mask])
            if target.type.pointee == I8:
                packed = builder.trunc(packed, _vector(I8, 16))
            place = builder.bitcast(builder.gep(target, [active]), packed.type.as_pointer())
            builder.store(packed, place, align=1)
        set_bits = builder.ctpop(builder.bitcast(mask, I16))
        return builder.add(active, builder.zext(set_bits, I64))

    return types.int64(code, i, number, event, payload, active), generate


@njit(cache=True, **LEAN)
def compact(code: Ints, start: int, active: int, event: Ints, payload: Ints) -> int:
    """Append the neurons that have a code to the events, of which there are some. start: number of the first neuron.

    event, payload: with room for as many entries as there were neurons before and are here. returns: their new count.
    """
    i = np.int64(0)
    if WIDTH == 64:
        while i + 16 <= code.size:
            active = compact_sixteen(code, i, start + i, event, payload, active)
            i += 16
    while i < code.size:
        event[active] = start + i
        payload[active] = code[i]
        active += code[i] != 0
        i += 1
    return active


@njit(cache=True, **LEAN)
def gather_codes(code: Ints, chosen: Ints, codes: Ints) -> int:
    """The neurons that have a code, and their codes, of 8 bits; filled up to whole groups; how many entries."""
    count = compact(code, np.int64(0), np.int64(0), chosen, codes)
    whole: int = (count + GROUP - 1) // GROUP * GROUP
    for k in range(count, whole):
        chosen[k] = chosen[0]
        codes[k] = 0
    return whole


@njit(cache=True, **LEAN)
def plain(event: Ints, payload: Ints, origin: int, weights: Ints, width: int, bits: int, total: Ints) -> None:
    """total[s, j] = sum over events of payload * field s of weights[event - origin, j], row by row.

    total: (stretches, bytes of a row that are read) flat.
    """
    length = total.size // (8 // bits)
    total[:] = 0
    for k in range(event.size):
        at, worth = (event[k] - origin) * width, np.int32(payload[k])
        row = weights[at : at + length]
        if bits == 8:
            for j in range(length):
                total[j] += worth * row[j]
            continue
        for stretch in range(8 // bits):
            sums, left = total[stretch * length : (stretch + 1) * length], 8 - bits * (stretch + 1)
            for j in range(length):
                sums[j] += worth * (np.int8(row[j] << left) >> (8 - bits))  # the field, its sign spread


@njit(cache=True, **LEAN)
def fit(event: Ints, payload: Ints, origin: int, width: int, length: int, size: int) -> int:
    """Groups of codes that the events make, a payload beyond 127 in parts; 0 where it takes the plain loops.

    That is where payloads are large throughout, or where rows cannot be read in whole blocks inside `size` bytes.
    """
    peak, parts, last = 0, 0, event[0]
    for k in range(event.size):
        peak, last = max(peak, np.int32(abs(payload[k]))), max(last, event[k])
    if (last - origin) * width + length > size:
        return 0
    if peak <= LARGEST:
        return (event.size + GROUP - 1) // GROUP
    for k in range(event.size):
        parts += max(1, (np.int64(abs(payload[k])) + LARGEST - 1) // LARGEST)
    return (parts + GROUP - 1) // GROUP if parts <= 2 * event.size + GROUP else 0


@njit(cache=True, **LEAN)
def gather(event: Ints, payload: Ints, origin: int, chosen: Ints, codes: Ints) -> None:
    """Copy events and payloads, one beyond 127 in parts (synapses are linear), then events of payload 0 to the end."""
    count = 0
    for k in range(event.size):
        chosen[k] = event[k] - origin
        codes[k] = payload[k]
        count += -LARGEST <= payload[k] <= LARGEST
    if count < event.size:
        count = 0
        for k in range(event.size):
            left = payload[k]
            while left != 0:
                part = min(max(left, -LARGEST), LARGEST)
                chosen[count], codes[count] = event[k] - origin, part
                count += 1
                left -= part
    for k in range(count, chosen.size):
        chosen[k] = event[0] - origin
        codes[k] = 0


@njit(cache=True, **LEAN)
def gather_tokens(neurons: Ints, pitch: int, size: int, tokens: int, chosen: Ints, codes: Ints) -> int:
    """The neurons that have a code in any of several tokens, in whole groups, and their codes; how many.

    neurons: codes of the first token, those of the next `pitch` further on. codes: (groups, tokens, 8) int8 flat.
    """
    count = 0
    for i in range(size):
        active = False
        for token in range(tokens):
            active |= neurons[token * pitch + i] != 0
        chosen[count] = i
        count += active
    whole = (count + GROUP - 1) // GROUP * GROUP if count else 0
    for k in range(count, whole):
        chosen[k] = chosen[count - 1]
    for token in range(tokens):
        code = neurons[token * pitch : token * pitch + size]
        for k in range(0, whole, GROUP):
            for m in range(GROUP):
                codes[k * tokens + token * GROUP + m] = code[chosen[k + m]] if k + m < count else 0
    return whole


@njit(cache=True, **LEAN)
def sum_of(codes: Ints, whole: int, token: int, tokens: int) -> int:
    """Sum of the codes of one token."""
    total = 0
    for k in range(0, whole, GROUP):
        for m in range(GROUP):
            total += codes[k * tokens + token * GROUP + m]
    return total


def scratch_size(sources: int, targets: int, tokens: int) -> int:
    """int32 entries that a delivery between so many neurons needs, `deliver.dense` or `weigh`, shared or not."""
    events = 2 * (sources + GROUP)  # a payload may come in parts
    sums = max(4 * WHOLE, targets + 4 * BLOCK, 4 * BLOCK * tokens)
    return events + events * tokens // 4 + LINE + sums + min(targets, 4 * WHOLE)


@njit(cache=True, **LEAN)
def sums_at(whole: int, tokens: int) -> int:
    """Where sums begin in scratch that holds so many events and their codes first: at the beginning of a line."""
    return int(whole + whole * tokens // 4 + LINE - 1) // LINE * LINE


@njit(cache=True, **LEAN)
def add(
    chosen: Ints, whole: int, weights: Ints, width: int, bits: int, begin: int, length: int, codes: Ints,
    tokens: int, total: Ints,
) -> None:  # fmt: skip
    """total = sums over all groups of events, in the order of the columns, each too large by flip * its codes.

    chosen: (whole,) rows. begin, length: bytes of the rows to read, in blocks. codes: (whole // 8, tokens, 8) int8.
    total: (tokens, stretches, length) int32 flat.
    """
    entries = tokens * (8 // bits) * length
    total[:entries] = 0
    ahead = GROUP * max(1, AHEAD // (GROUP * length))
    for k in range(0, whole, GROUP):
        events, shares = chosen[k : k + GROUP], codes[k * tokens :]
        coming = chosen[min(k + ahead, whole - GROUP) :]
        if bits == 8:
            add_eight_of_8(events, coming, weights, width, begin, length, shares, tokens, total)
        elif bits == 4:
            add_eight_of_4(events, coming, weights, width, begin, length, shares, tokens, total)
        else:
            add_eight_of_2(events, coming, weights, width, begin, length, shares, tokens, total)
    unweave(entries, total)
