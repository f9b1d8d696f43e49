"""Commands and flags that documents name exist, and docs/operations.md lists every command."""

import re
from collections.abc import Iterator

import click
import pytest

from millimetric_server.cli import main
from repo.doc_files import list_documents, read_doc, read_table

# A command where it is run or named: at the beginning of a line or of a code span, or behind an assignment.
_NAMED = re.compile(r"(?:^|`|/)(?:\w+=\S+ )*millimetric ([a-z].*?)(?:`|$)", re.MULTILINE)
_FLAG = re.compile(r"(?<![\w-])--[a-z][a-z-]*")


def test_the_table_of_commands_lists_them_all() -> None:
    told = [row["Command"].removeprefix("millimetric ") for row in read_table("docs/operations.md", "Command")]
    assert sorted(told) == sorted(" ".join(words) for words, _ in _list_commands(main))


@pytest.mark.parametrize("path", list_documents())
def test_commands_and_flags_that_a_document_names_exist(path: str) -> None:
    groups = {name for name, command in _list_members(main) if isinstance(command, click.Group)}
    known = {" ".join(words): command for words, command in _list_commands(main)}
    for line in _NAMED.findall(read_doc(path)):
        words = line.split()
        if words[0] in groups and (len(words) == 1 or not words[1].isalpha()):
            continue
        name = " ".join(words[:2] if words[0] in groups else words[:1])
        assert name in known, f"millimetric {line}"
        flags = {flag for parameter in known[name].params for flag in parameter.opts}
        assert set(_FLAG.findall(line)) <= flags | {"--help", "--version"}, f"millimetric {line}"


def _list_commands(group: click.Group) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    for name, command in _list_members(group):
        if isinstance(command, click.Group):
            yield from (((name, *rest), found) for rest, found in _list_commands(command))
        else:
            yield (name,), command


def _list_members(group: click.Group) -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        assert command.name == name
        yield name, command
