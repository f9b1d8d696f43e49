"""The page on loading tells the presets' tables as the code has them."""

import pytest

from millimetric_server.cli.load.presets import PRESETS
from millimetric_server.cli.load.shaping import CONTEXT_FIELDS, TEXT_FIELDS
from repo.doc_files import read_section, read_table

_PAGE = "docs/loading.md"


@pytest.mark.parametrize("name", PRESETS)
def test_the_table_of_a_preset_is_the_code(name: str) -> None:
    preset = PRESETS[name]
    section = read_section(_PAGE, preset.title)
    assert f"`--from {name}` reads {preset.file}." in " ".join(section.split())
    rows = read_table(_PAGE, "Field", after=f"### {preset.title}\n")
    assert {row["Field"]: row["Read from"] for row in rows} == {
        field: ", else ".join(places) for field, places in preset.fields.items()
    }


def test_the_fields_of_a_file_are_told() -> None:
    told = read_section(_PAGE, "Files")
    assert all(f"`{name}`" in told for name in (*TEXT_FIELDS, *CONTEXT_FIELDS))
