"""What no file of the repository may hold, links that lead nowhere, and words that are explained twice."""

import re
import tomllib
from collections import Counter
from urllib.parse import unquote

import pytest

from repo.doc_files import ROOT, list_documents, list_files, read_anchors, read_doc, read_links

_LOCKS = ("requirements/server.lock", "requirements/dev.lock")
_PIN = re.compile(r"^([a-z0-9][a-z0-9._-]*)(?:\[[^\]]*\])?==\S+", re.MULTILINE)
# Written so that this file does not hold what it looks for.
_REGISTRIES = re.compile(
    r"pypi\.org|pythonhosted\.org|registry\.(?:npmjs|yarnpkg)\.|repo1?\.maven\.|proxy\.golang\.|crates\.io"
)
_REGISTRY_OPTIONS = re.compile(
    r"--(?:(?:extra-)?index-url|find-links|trusted-host|registry\b)|PIP_(?:INDEX)|GOPROXY[=]"
)
_MACHINE_PATHS = re.compile(r"(?<![\w.~/-])/(?:home|root|Users|work|mnt)/[\w.-]+")
_NOT_TEXT = (".png", ".jpg", ".gz", ".mmdb", ".binpb")


@pytest.mark.parametrize("path", _LOCKS)
def test_a_lock_file_pins_with_hashes_and_holds_no_address(path: str) -> None:
    text = read_doc(path)
    assert "://" not in text
    assert not re.search(r"^\s*-(?!-hash)", text, re.MULTILINE), "options"
    entries = re.split(r"\n(?=\S)", text.strip())
    assert entries
    assert all(_PIN.match(entry) and "--hash=sha256:" in entry for entry in entries)


def test_every_direct_dependency_is_locked() -> None:
    project = tomllib.loads(read_doc("pyproject.toml"))
    client = tomllib.loads(read_doc("clients/python/pyproject.toml"))
    runtime = [
        *project["project"]["dependencies"],
        *client["project"]["dependencies"],
        *(line for extra in project["project"]["optional-dependencies"].values() for line in extra),
    ]
    _require_locked("requirements/server.lock", runtime)
    _require_locked("requirements/dev.lock", [*runtime, *project["dependency-groups"]["dev"]])


def test_both_lock_files_agree_on_what_the_server_runs_with() -> None:
    server, dev = (dict(re.findall(r"^([^\s=]+)==(\S+)", read_doc(path), re.MULTILINE)) for path in _LOCKS)
    assert {name: dev.get(name) for name in server} == server


@pytest.mark.parametrize("what", [_REGISTRIES, _REGISTRY_OPTIONS, _MACHINE_PATHS])
def test_no_file_names_a_registry_or_a_machine(what: re.Pattern[str]) -> None:
    found = {
        path: match[0] for path in list_files() if not path.endswith(_NOT_TEXT) and (match := what.search(_read(path)))
    }
    assert found == {}


@pytest.mark.parametrize("path", list_documents())
def test_the_links_of_a_document_lead_somewhere(path: str) -> None:
    folder = (ROOT / path).parent
    broken = []
    for link in read_links(path):
        if "://" in link or link.startswith("mailto:"):
            continue
        target, _, anchor = unquote(link).partition("#")
        found = (folder / target).resolve() if target else ROOT / path
        is_there = found.exists() and ROOT in (found, *found.parents)
        if not is_there or (anchor and anchor not in read_anchors(str(found.relative_to(ROOT)))):
            broken.append(link)
    assert broken == []


def test_the_glossary_explains_every_word_once_and_in_one_line() -> None:
    lines = [line for line in read_doc("docs/glossary.md").splitlines() if line.startswith("| ")]
    rows = [line.strip("| ").split(" | ") for line in lines]
    terms = Counter(row[0].lower() for row in rows if row[0] not in ("Term", "---"))
    assert [term for term, times in terms.items() if times > 1] == []
    assert all(len(row) == 2 and row[1] and not row[1].endswith(".") for row in rows)


def test_targets_of_make_that_documents_name_exist() -> None:
    targets = set(re.findall(r"^([a-z][a-z_-]*):", read_doc("Makefile"), re.MULTILINE))
    for path in list_documents():
        named = set(re.findall(r"`make ([a-z][a-z_-]*)", read_doc(path)))
        named |= set(re.findall(r"^make ([a-z][a-z_-]*)", read_doc(path), re.MULTILINE))
        assert named <= targets, path


def _require_locked(path: str, requirements: list[str]) -> None:
    locked = set(_PIN.findall(read_doc(path)))
    names = {re.split(r"[^A-Za-z0-9._-]", line)[0].lower() for line in requirements}
    assert names - locked <= {"millimetric"}, path  # this repository's own


def _read(path: str) -> str:
    return (ROOT / path).read_text("utf-8", "replace")
