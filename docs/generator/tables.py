"""The tables that pages written by hand take from the protos."""

from collections.abc import Iterable, Sequence

from docs.generator.described import Description

_PREFIX = "ERROR_REASON_"


def render_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Write a table of Markdown."""
    lines = [head, ["---"] * len(head), *([cell.replace("|", r"\|") for cell in row] for row in rows)]
    return "".join(f"|{''.join(f' {cell} |' if cell else ' |' for cell in line)}\n" for line in lines)


def render_reasons(described: Description) -> str:
    """Write how each reason is told, and when."""
    enum = described.find_enum("ErrorReason")
    rows = []
    for value in enum.values[1:]:
        told = described.read_option(value.GetOptions(), "millimetric.v1.reason")
        word = value.name.removeprefix(_PREFIX).lower()
        when = described.comments[f"{enum.full_name}.{value.name}"].removesuffix(".")
        rows.append((f"`{word}`", str(told.http_status), told.code, "yes" if told.is_retryable else "no", when))
    return render_table(("Reason", "HTTP", "gRPC", "Retry", "When"), rows)
