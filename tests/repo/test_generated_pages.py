"""Pages that are made from the protos are up to date, and what the protos say twice, they say alike."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from docs.generator.described import Description, read_description
from docs.generator.pages import render_pages

from repo.doc_files import ROOT


@pytest.fixture(scope="module")
def described(tmp_path_factory: pytest.TempPathFactory) -> Description:
    image = tmp_path_factory.mktemp("image") / "millimetric.binpb"
    buf = Path(sys.executable).with_name("buf")
    command = [buf, "build", "--path", "proto/millimetric/v1", "--as-file-descriptor-set", "--output", image]
    subprocess.run(command, cwd=ROOT, check=True)
    return read_description(image.read_bytes())


def test_pages_hold_what_the_protos_say(described: Description) -> None:
    stale = [path for path, text in render_pages(described, ROOT).items() if path.read_text("utf-8") != text]
    assert stale == [], "run make generate"


def test_the_comment_of_a_field_tells_its_limits(described: Description) -> None:
    untold = [
        (field.full_name, number)
        for message in described.list_messages()
        for field in message.fields
        for _, number in described.read_option(field.GetOptions(), "millimetric.v1.limits").ListFields()
        if not re.search(rf"(?<![\d,]){number:,}(?![\d,]\d)", described.comments[field.full_name])
    ]
    assert untold == []


def test_a_page_without_its_block_is_an_error(described: Description, tmp_path: Path) -> None:
    for path, text in render_pages(described, ROOT).items():
        copy = tmp_path / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(text.replace("<!-- end -->\n", ""), "utf-8")
    with pytest.raises(ValueError, match="must be there once"):
        render_pages(described, tmp_path)


def test_what_people_write_around_a_block_stays(described: Description, tmp_path: Path) -> None:
    for path, text in render_pages(described, ROOT).items():
        copy = tmp_path / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(f"{text}\nA last word.\n", "utf-8")
    written = [text for path, text in render_pages(described, tmp_path).items() if path.name != "reference.md"]
    assert written
    assert all(text.endswith("\nA last word.\n") for text in written)
