"""`python -m docs.generator build/millimetric.binpb`, from the root of the repository; --check writes nothing."""

import sys
from pathlib import Path

from docs.generator.described import read_description
from docs.generator.pages import render_pages


def main(descriptor_set: str, *, is_check: bool) -> int:
    """Write every generated page from a descriptor set with comments; or name those that are stale."""
    pages = render_pages(read_description(Path(descriptor_set).read_bytes()), Path())
    stale = [path for path, text in pages.items() if not path.exists() or path.read_text("utf-8") != text]
    for path in stale:
        if is_check:
            sys.stderr.write(f"{path} is stale: run make generate\n")
        else:
            path.write_text(pages[path], "utf-8")
    return int(is_check and bool(stale))


if __name__ == "__main__":
    *flags, path = sys.argv[1:]
    sys.exit(main(path, is_check=flags == ["--check"]))
