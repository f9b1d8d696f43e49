"""Whether the embedded engine is installed. It is an extra: with what pip adds to it, it takes 900 MB."""

import importlib.metadata
import importlib.util
import re

_PACKAGE = "millimetric-server"
_ENGINE = re.compile(r"chdb-core\s*[^;\s]*")


class EngineMissingError(Exception):
    """The embedded engine is not installed; the message says how to install it, or do without."""


def require_engine() -> None:
    """Raise EngineMissingError unless the embedded engine can be imported."""
    if find_engine_version() is None:
        raise EngineMissingError(
            f"The embedded ClickHouse is not installed. {ADVICE} Or use a ClickHouse server: --clickhouse-url "
            "(MILLIMETRIC_CLICKHOUSE_URL)."
        )


def find_engine_version() -> str | None:
    """The installed engine's version; None without an engine."""
    if importlib.util.find_spec("chdb") is None:
        return None
    for package in ("chdb-core", "chdb"):
        try:
            return importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return "of unknown version"


def _find_requirement() -> str:
    """The engine's version that this server is made for, as pip wants it."""
    requirements = importlib.metadata.requires(_PACKAGE) or []
    return next((match[0] for line in requirements if (match := _ENGINE.match(line))), "chdb-core")


# Without what the package declares and does not need: 530 MB instead of 900.
ADVICE = f"Install it: pip install --no-deps {_find_requirement()}."
