"""What this machine computes on, and in which precision: the one place that asks for its capabilities.

bfloat16 halves the bytes of an operand. A processor with units for it trains about twice as fast with it; one without
turns every operand into float32 and back, and is many times slower. So ``auto`` takes it only where it is native.
"""

import contextlib
import platform
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, Literal

import torch

from emobench.errors import UserError

PRECISIONS = ("auto", "float32", "bfloat16")
PROBE = (16, 32, 64, 20)
"""Images, channels in, channels out and side of the convolution whose training step is timed."""

SHORT_STEP = 2e9
"""Multiplications of a training step's forward pass up to which one core takes no longer than two, which wait for each
other at the end of every operation."""


def pick_device(name: str) -> str:
    """The torch device for params' ``device``: ``auto`` takes CUDA where there is one.

    Raises:
        UserError: ``cuda`` is asked for and there is none.
    """
    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise UserError("params: device is cuda, but torch finds no CUDA device; expected cpu or auto here")
    return "cuda" if available and name != "cpu" else "cpu"


def computes_bfloat16(device: str) -> bool:
    """Whether a device has units for bfloat16, so that it need not emulate it."""
    if device.startswith("cuda"):
        return torch.cuda.is_bf16_supported(including_emulation=False)
    # oneDNN takes bfloat16 on every AVX-512 processor, and where there is nothing else it emulates it: its word is
    # needed, but on x86 not enough. What it uses (AVX512_BF16; AMX, which it takes only beside that) is asked for too.
    taken = _says(torch.ops.mkldnn, "_is_mkldnn_bf16_supported")
    x86 = platform.machine().lower() in ("x86_64", "amd64")
    return taken and (not x86 or _says(torch.cpu, "_is_avx512_bf16_supported"))


def _says(module: Any, question: str) -> bool:
    """The answer of one of torch's private functions; False from a torch that lacks it: float32 is right anywhere."""
    try:
        return bool(getattr(module, question)())
    except (AttributeError, RuntimeError, NotImplementedError):
        return False


def pick_precision(name: str, device: str) -> Literal["float32", "bfloat16"]:
    """What params' ``precision`` means on a device, as pick_device returns it.

    Args:
        name: ``float32``, ``bfloat16``, or ``auto``: bfloat16 where it is native, else float32.
        device: ``cpu`` or ``cuda``.

    Returns:
        ``float32`` or ``bfloat16``. Where the latter is asked for and emulated, a line on standard error says how much
        slower than float32 that is here.

    Raises:
        UserError: another name, or bfloat16 on a device that doesn't take it at all.
    """
    if name not in PRECISIONS:
        raise UserError(f"params: precision is {name!r}; expected one of {', '.join(PRECISIONS)}")
    native = name != "float32" and computes_bfloat16(device)
    if name == "auto":
        return "bfloat16" if native else "float32"
    if name == "bfloat16" and not native:
        if device.startswith("cuda") and not torch.cuda.is_bf16_supported():
            raise UserError("params: precision is bfloat16, which this GPU can't do; expected auto or float32 here")
        print(
            f"emobench: precision is bfloat16, which this {_kind(device)} emulates: a training step of a small "
            f"convolution takes {slowdown(device):.1f} times as long as in float32; auto takes float32 here",
            file=sys.stderr,
        )
    return "bfloat16" if name == "bfloat16" else "float32"


def _kind(device: str) -> str:
    return "GPU" if device.startswith("cuda") else "CPU"


def autocast(device: str, precision: str) -> torch.autocast:
    """The context in which a forward pass is trained; ``precision`` as in params, or as pick_precision returned it."""
    used = precision == "bfloat16" or (precision == "auto" and computes_bfloat16(device))
    return torch.autocast(device, torch.bfloat16, enabled=used)


def slowdown(device: str) -> float:
    """How many times as long a small convolution's training step takes in bfloat16 as in float32, measured now."""
    images, channels, outputs, side = PROBE
    inputs = torch.ones(images, channels, side, side, device=device)
    weight = torch.ones(outputs, channels, 3, 3, device=device, requires_grad=True)

    # Of the CPU its own seconds: what else the machine does at the same time takes none of them.
    clock = time.perf_counter if device.startswith("cuda") else time.process_time

    def seconds(precision: str) -> float:
        taken = []
        # The first one builds the kernel; a disturbance can only make one longer.
        for _ in range(4):
            start = clock()
            with autocast(device, precision):
                result = torch.nn.functional.conv2d(inputs, weight, padding=1)
            result.float().mean().backward()
            if device.startswith("cuda"):
                torch.cuda.synchronize()
            taken.append(clock() - start)
        return min(taken[1:])

    return seconds("bfloat16") / seconds("float32")


@contextlib.contextmanager
def cores_for(forward: Callable[[], object]) -> Iterator[None]:
    """Leaves all cores but one to others while a training runs whose steps are short.

    Args:
        forward: one step's forward pass, which is run once without gradients to count its multiplications.
    """
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter, torch.no_grad():
        forward()
    threads = torch.get_num_threads()
    # The counter counts a multiplication and its addition as two.
    torch.set_num_threads(1 if counter.get_total_flops() / 2 <= SHORT_STEP else threads)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
