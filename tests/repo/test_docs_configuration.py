"""docs/configuration.md tells every setting as the code has it."""

from pathlib import Path

from millimetric_server.cli.settings import render_settings_table

_PAGE = Path(__file__).parents[2] / "docs" / "configuration.md"
_BEGIN = "<!-- settings: made by millimetric_server.cli.settings.render_settings_table() -->\n"
_END = "\n<!-- end of settings -->"


def test_the_settings_table_is_that_of_the_code() -> None:
    written = _PAGE.read_text().partition(_BEGIN)[2].partition(_END)[0]
    assert written == render_settings_table(), (
        "put what render_settings_table() returns between the marks of docs/configuration.md"
    )
