"""Which pages are generated, whole or in part."""

import re
from collections.abc import Callable
from pathlib import Path

from docs.generator.described import Description
from docs.generator.reference import render_reference
from docs.generator.tables import render_columns, render_methods, render_reasons, render_routes

Render = Callable[[Description], str]
_WHOLE: tuple[tuple[str, Render], ...] = (("docs/api/reference.md", render_reference),)
# Between `<!-- generated: NAME -->` and `<!-- end -->` of pages that are written by hand.
_BLOCKS: tuple[tuple[str, str, Render], ...] = (
    ("docs/api/errors.md", "reasons", render_reasons),
    ("docs/api/rest.md", "routes", render_routes),
    ("docs/api/rest.md", "columns", render_columns),
    ("docs/api/grpc.md", "methods", render_methods),
)


def render_pages(described: Description, root: Path) -> dict[Path, str]:
    """Write the pages anew; what people wrote around a block stays."""
    pages = {root / name: render(described) for name, render in _WHOLE}
    for name, block, render in _BLOCKS:
        path = root / name
        text = pages.get(path) or path.read_text("utf-8")
        pages[path] = _fill(text, block, render(described))
    return pages


def _fill(text: str, block: str, content: str) -> str:
    begin, end = f"<!-- generated: {re.escape(block)} -->\n", "<!-- end -->\n"
    filled, times = re.subn(
        f"({begin})(?:(?!<!-- generated).)*?({end})",
        lambda found: f"{found[1]}\n{content}\n{found[2]}",
        text,
        flags=re.DOTALL,
    )
    if times != 1:
        raise ValueError(f"the block {block!r} must be there once, not {times} times")
    return filled
