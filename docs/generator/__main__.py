"""`python -m docs.generator build/millimetric.binpb`, from the root of the repository; --check writes nothing."""

import subprocess
import sys
from pathlib import Path

from docs.generator.described import Description, read_description
from docs.generator.messages import render_messages
from docs.generator.pages import render_pages

_MESSAGES = Path("server/millimetric_server/api/messages")


def main(descriptor_set: str, *, is_check: bool) -> int:
    """Write every generated page and module from a descriptor set with comments; or name the pages that are stale."""
    described = read_description(Path(descriptor_set).read_bytes())
    if not is_check:
        _write_messages(described)
    pages = render_pages(described, Path())
    stale = [path for path, text in pages.items() if not path.exists() or path.read_text("utf-8") != text]
    for path in stale:
        if is_check:
            sys.stderr.write(f"{path} is stale: run make generate\n")
        else:
            path.write_text(pages[path], "utf-8")
    return int(is_check and bool(stale))


def _write_messages(described: Description) -> None:
    """Write the server's messages, in the form that its code has."""
    for name, text in render_messages(described).items():
        (_MESSAGES / name).write_text(text, "utf-8")
    for words in (("check", "--fix"), ("format",)):
        subprocess.run([sys.executable, "-m", "ruff", *words, "--quiet", str(_MESSAGES)], check=True)  # noqa: S603


if __name__ == "__main__":
    *flags, path = sys.argv[1:]
    sys.exit(main(path, is_check=flags == ["--check"]))
