"""Boosters inside of a pickle: their state holds a native file, which is followed before the library has it."""

import sys
from collections.abc import Callable

from bedside_runtime.adapters import lightgbm_text, xgboost_file


def built(build: Callable[[], None], made: object, state: object) -> None:
    """Give ``made`` its state by ``build``, where its library can read what the state holds.

    Raises:
        ValueError: It cannot.
    """
    lightgbm, xgboost = sys.modules.get("lightgbm"), sys.modules.get("xgboost")
    if lightgbm is not None and isinstance(made, lightgbm.Booster):
        _require_text(state)
        try:
            build()
        except lightgbm.basic.LightGBMError:
            raise ValueError("LightGBM cannot read the booster") from None
        return
    if xgboost is not None and isinstance(made, xgboost.Booster):
        _require_buffer(state)
    build()


def _require_text(state: object) -> None:
    handle = state.get("_handle", state.get("handle")) if isinstance(state, dict) else ""
    if handle is not None:
        if not isinstance(handle, str):
            raise ValueError("a booster is no text")
        lightgbm_text.require_whole(handle)


def _require_buffer(state: object) -> None:
    handle = state.get("handle", b"") if isinstance(state, dict) else b""
    if handle is not None:
        if not isinstance(handle, bytearray):
            raise ValueError("a booster is no buffer")
        xgboost_file.require_whole(bytes(handle))
