"""Whether what a lock names computes on a GPU, and whether that was asked for. Pure.

A CUDA library in an image for CPUs is gigabytes to pull at every start, and its vulnerabilities; one that is missing in
an image for GPUs shows only where the GPU is. Both are seen in the lock.
"""

import re
from collections.abc import Iterable
from typing import Final, Literal

from bedside.errors import SpecInvalid
from bedside.locking.lockfile import Locked

_CUDA: Final = re.compile(r"nvidia-.+|xgboost|onnxruntime-gpu|cupy(-cuda.+)?|.+-cu1\d|jax-cuda.+|triton")
"""Distributions that are CUDA, or that carry code for it and nothing else."""

_INSTEAD: Final = {
    "xgboost": "write xgboost-cpu instead of xgboost",
    "onnxruntime-gpu": "write onnxruntime instead of onnxruntime-gpu",
    "torch": "take torch from PyTorch's index for CPUs, whose versions end in +cpu",
}


def check(locked: Iterable[Locked], accelerator: Literal["cpu", "cuda"], file: str) -> None:
    """Hold a lock against ``[environment] accelerator``.

    Args:
        locked: What is going to be installed.
        accelerator: What the author says it computes on.
        file: The author's requirements, for the message.

    Raises:
        SpecInvalid: A release for CPUs would carry CUDA, or one for GPUs would not.
    """
    names = {item.name for item in locked}
    found = sorted(name for name in names if _CUDA.fullmatch(name))
    if accelerator == "cpu" and found:
        ways = [way for name, way in _INSTEAD.items() if name in names]
        raise SpecInvalid(
            f"{file} resolves to {len(found)} distribution(s) that bring CUDA: {', '.join(found[:5])}",
            remedy=f"In {file}, {'; '.join(ways) or 'choose the builds for CPUs'}; "
            'or set [environment] accelerator = "cuda".',
        )
    if accelerator == "cuda" and not found:
        raise SpecInvalid(
            f'[environment] accelerator is "cuda", and nothing that {file} resolves to computes on a GPU',
            remedy=f'Name a library with CUDA in {file}, or set accelerator = "cpu".',
        )
