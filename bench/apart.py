"""Runs a function in a process of its own: the embedded engine takes one folder a process, and keeps threads."""

import multiprocessing
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

OnProgress = Callable[[str, int, int], None]  # what is done, how much of it, of how much
_PROGRESS, _DONE, _FAILED = "progress", "done", "failed"


class ApartError(Exception):
    """What ran apart failed; the message says how."""


def run_apart(function: Callable[..., Any], *arguments: Any, on_progress: OnProgress) -> Any:
    """Call `function(*arguments, on_progress)` in a fresh process and return its result. Raises ApartError."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_carry_out, args=(theirs, function, arguments), daemon=True)
    process.start()
    theirs.close()
    try:
        while True:
            kind, content = ours.recv()
            if kind == _DONE:
                return content
            if kind == _FAILED:
                raise ApartError(content)
            on_progress(*content)
    except EOFError:
        raise ApartError("the engine's process ended without an answer") from None
    finally:
        ours.close()
        process.join()


def _carry_out(pipe: Connection, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    try:
        result = function(*arguments, lambda *progress: pipe.send((_PROGRESS, progress)))
    except Exception as error:  # noqa: BLE001 - told to the parent, whatever it is
        pipe.send((_FAILED, f"{type(error).__name__}: {error}"))
    else:
        pipe.send((_DONE, result))
