"""The SQL files of sql/, one a query, read once."""

import functools
from importlib import resources


def read_all_statements() -> None:
    """Read every file now, so that no handler waits for one later."""
    for file in resources.files(__package__).joinpath("sql").iterdir():
        if file.name.endswith(".sql"):
            read_statement(file.name.removesuffix(".sql"))


@functools.cache
def read_statement(name: str) -> str:
    """Read sql/<name>.sql without its comments; `name` is `<handler>.<query>`."""
    text = resources.files(__package__).joinpath("sql", f"{name}.sql").read_text()
    return "\n".join(line for line in text.splitlines() if not line.startswith("--")).strip()
