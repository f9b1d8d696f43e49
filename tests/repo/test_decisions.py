"""The decision records are complete, in order and listed, and every direct dependency has its reason."""

import re
import tomllib

from repo.doc_files import DOCS, ROOT, list_files, read_doc, read_table, split_list

_FOLDER = DOCS / "adr"
_RECORDS = sorted(_FOLDER.glob("[0-9]*.md"))
_MENTIONED = re.compile(r"docs/adr/(\d{4})")
_NAME = re.compile(r"[A-Za-z0-9._-]+")
_PARTS = ("## Context", "## Decision", "## Consequences")


def test_records_are_numbered_without_a_gap() -> None:
    assert [path.name[:4] for path in _RECORDS] == [f"{number:04}" for number in range(1, len(_RECORDS) + 1)]


def test_every_record_has_its_parts_in_order_and_a_title_with_its_number() -> None:
    for path in _RECORDS:
        lines = path.read_text().splitlines()
        assert lines[0].startswith(f"# {path.name[:4]}: "), path.name
        assert [line for line in lines if line in _PARTS] == list(_PARTS), path.name


def test_every_record_is_listed_by_its_title() -> None:
    listed = [row["Decision"] for row in read_table("docs/adr/README.md", "")]
    assert listed == [path.read_text().splitlines()[0].partition(": ")[2] for path in _RECORDS]
    links = [row[""] for row in read_table("docs/adr/README.md", "")]
    assert links == [f"[{path.name[:4]}]({path.name})" for path in _RECORDS]


def test_records_that_files_refer_to_exist() -> None:
    known = {path.name[:4] for path in _RECORDS}
    for path in list_files():
        if path.endswith((".py", ".toml", ".txt", ".md", ".proto", ".sql", ".yaml")):
            assert set(_MENTIONED.findall(read_doc(path))) <= known, path


def test_every_direct_dependency_has_its_reason_and_no_other_has() -> None:
    told = [
        name
        for heading in ("### The server", "### Building, generating, testing")
        for row in read_table("docs/adr/0007-dependencies.md", "Library", after=heading)
        for name in split_list(row["Library"])
    ]
    assert len(told) == len(set(told))
    assert set(told) == _read_dependencies()


def _read_dependencies() -> set[str]:
    server = tomllib.loads((ROOT / "pyproject.toml").read_text())
    client = tomllib.loads((ROOT / "clients/python/pyproject.toml").read_text())
    requirements = [
        *server["build-system"]["requires"],
        *server["project"]["dependencies"],
        *(line for extra in server["project"]["optional-dependencies"].values() for line in extra),
        *(line for group in server["dependency-groups"].values() for line in group),
        *client["build-system"]["requires"],
        *client["project"]["dependencies"],
        *(line for line in read_doc("requirements/build.in").splitlines() if line and not line.startswith("#")),
    ]
    return {match[0].lower() for line in requirements if (match := _NAME.match(line))}
