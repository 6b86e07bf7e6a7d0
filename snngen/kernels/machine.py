"""Machine: single instructions that Python has no word for."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, cast

from llvmlite import ir
from numba import types
from numba.extending import intrinsic


def declared(module: ir.Module, kind: ir.FunctionType, name: str) -> ir.Function:
    """A function that LLVM, or the C library, knows by name."""
    return module.globals[name] if name in module.globals else ir.Function(module, kind, name)


def instruction(function: Callable[..., Any]) -> Callable[..., Any]:
    """What Numba compiles to the instructions that the function generates; called from kernels, without `typing`."""
    return cast("Callable[..., Any]", intrinsic(function))


@instruction
def stand_alone(typing: Any) -> Any:
    """Keep the kernel in which this stands a function of its own: it is compiled once, not into each of its callers."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
        builder.function.attributes.discard("alwaysinline")  # which a caller may have handed down
        builder.function.attributes.add("noinline")
        return context.get_dummy_value()

    return types.void(), generate


@instruction
def ones(typing: Any, value: Any) -> Any:
    """Number of one bits (POPCNT)."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
        return builder.ctpop(values[0])

    return value(value), generate


def _place(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> ir.Value:
    """The address of element values[1] of array values[0]."""
    data = context.make_array(signature.args[0])(context, builder, values[0]).data
    return builder.gep(data, [values[1]])


@instruction
def acquire(typing: Any, array: Any, at: Any) -> Any:
    """array[at], read before all that follows: what another thread has written before its `release` is seen."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
        return builder.load_atomic(_place(context, builder, signature, values), "acquire", 8)

    return types.int64(array, types.int64), generate


@instruction
def release(typing: Any, array: Any, at: Any, value: Any) -> Any:
    """array[at] = value, written after all that comes before."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
        builder.store_atomic(values[2], _place(context, builder, signature, values), "release", 8)
        return context.get_dummy_value()

    return types.void(array, types.int64, types.int64), generate


@instruction
def exchange(typing: Any, array: Any, at: Any, old: Any, new: Any) -> Any:
    """Set array[at] to `new` if it is `old`, in one step that no other thread can divide. returns: whether it was."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
        place = _place(context, builder, signature, values)
        done = builder.cmpxchg(place, values[2], values[3], "seq_cst", "seq_cst")
        return builder.extract_value(done, 1)

    return types.boolean(array, types.int64, types.int64, types.int64), generate


@instruction
def increment(typing: Any, array: Any, at: Any) -> Any:
    """array[at] += 1, in one step, after all that comes before."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
        place = _place(context, builder, signature, values)
        builder.atomic_rmw("add", place, ir.Constant(ir.IntType(64), 1), "seq_cst")
        return context.get_dummy_value()

    return types.void(array, types.int64), generate


@instruction
def pause(typing: Any) -> Any:
    """Tell the processor that this loop waits for another thread."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
        if str(builder.module.triple).startswith(("x86", "i686")):
            kind = ir.FunctionType(ir.VoidType(), [])
            builder.call(declared(builder.module, kind, "llvm.x86.sse2.pause"), [])
        else:
            builder.fence("seq_cst")
        return context.get_dummy_value()

    return types.void(), generate


@instruction
def leave(typing: Any) -> Any:
    """Leave the core to other threads that want to run."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
        name = "SwitchToThread" if sys.platform == "win32" else "sched_yield"
        kind = ir.FunctionType(ir.IntType(32), [])
        builder.call(declared(builder.module, kind, name), [])
        return context.get_dummy_value()

    return types.void(), generate
