"""The SQL files, one per query, in the sql/ folder of the package that uses them; read once."""

import functools
from importlib import resources
from importlib.resources.abc import Traversable


def read_all_statements() -> None:
    """Read every file now, so that no handler waits for one later."""
    for name in _find_files():
        read_statement(name)


@functools.cache
def read_statement(name: str) -> str:
    """Read the file <name>.sql without its comments; `name` is `<question>.<query>`, unique over the rooms."""
    text = _find_files()[name].read_text()
    return "\n".join(line for line in text.splitlines() if not line.startswith("--")).strip()


@functools.cache
def _find_files() -> dict[str, Traversable]:
    rooms = [room.joinpath("sql") for room in resources.files("millimetric_server").iterdir() if room.is_dir()]
    files = [file for folder in rooms if folder.is_dir() for file in folder.iterdir() if file.name.endswith(".sql")]
    return {file.name.removesuffix(".sql"): file for file in files}
