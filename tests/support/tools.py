"""What some tests need and a machine may lack: a skip on a developer's machine, a failure in CI."""

import os
from typing import NoReturn

import pytest


def give_up(message: str) -> NoReturn:
    """Skip the test for what this machine lacks; in CI nothing may be lacking."""
    if os.environ.get("CI") == "true":
        pytest.fail(message)
    pytest.skip(message)


def require_tool(name: str, path: str | None, hint: str) -> str:
    """Return the tool's path; give the test up without it."""
    if path is None:
        give_up(f"{name} is not installed: {hint}")
    return path
