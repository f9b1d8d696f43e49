"""`python -m docs.generator build/millimetric.binpb`, from the root of the repository."""

import sys
from pathlib import Path

from docs.generator.described import read_description
from docs.generator.reference import render_reference

_API = Path("docs/api")


def main(descriptor_set: str) -> None:
    """Write every generated page from a descriptor set with comments."""
    described = read_description(Path(descriptor_set).read_bytes())
    (_API / "reference.md").write_text(render_reference(described), "utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
