"""Programs that some tests need and a machine may lack."""

import os

import pytest


def require_tool(name: str, path: str | None, hint: str) -> str:
    """Return the tool's path; skip without it on a developer's machine, fail in CI."""
    if path is None:
        message = f"{name} is not installed: {hint}"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    return path
