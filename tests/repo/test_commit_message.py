"""Git refuses commit messages that break the rules of CONTRIBUTING.md, and says what to do."""

import os
import subprocess
from pathlib import Path

import pytest

from repo.doc_files import ROOT, read_doc

_HOOKS = ROOT / ".githooks"
_SUBJECT = "Hold the server to its rules"
_BODY = "It did not keep them.\nNow it does; a test shows it."
_FEW, _MANY = 10, 11  # changed lines: CONTRIBUTING.md names the limit


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    run_git(tmp_path, "init", "--quiet")
    run_git(tmp_path, "config", "core.hooksPath", str(_HOOKS))
    return tmp_path


def run_git(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    identity = {
        f"GIT_{role}_{name}": value
        for role in ("AUTHOR", "COMMITTER")
        for name, value in (("NAME", "A"), ("EMAIL", "a@b.example"))
    }
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    return subprocess.run(
        ["git", *arguments], cwd=folder, env=inherited | identity, capture_output=True, text=True, check=False
    )


def commit(folder: Path, message: str, *, changed_lines: int = _MANY) -> str:
    """Commit a new file with so many lines, and return what git says if it refuses."""
    (folder / "file.txt").write_text("line\n" * changed_lines)
    run_git(folder, "add", "file.txt")
    done = run_git(folder, "commit", "--message", message)
    assert (done.returncode == 0) == (not done.stderr)
    return done.stderr


@pytest.mark.parametrize(
    "message",
    [
        f"{_SUBJECT}\n\n{_BODY}",
        f"{'A' * 72}\n\n{_BODY}",
        f"Feed the loader\n\n{_BODY}",
        f"# a comment of git\n{_SUBJECT}\n# another\n\n{_BODY}",
        "Merge branch 'other'",
        f"fixup! {_SUBJECT}",
    ],
)
def test_a_message_that_keeps_the_rules_is_accepted(checkout: Path, message: str) -> None:
    assert commit(checkout, message) == ""


@pytest.mark.parametrize(
    ("message", "advice"),
    [
        (f"{'A' * 73}\n\n{_BODY}", "The subject has 73 characters; shorten it to 72."),
        (f"{_SUBJECT}.\n\n{_BODY}", "remove it"),
        (f"hold the server\n\n{_BODY}", "begin it with a capital letter"),
        (f"Added a rule\n\n{_BODY}", "write it in the imperative"),
        (f"Adding a rule\n\n{_BODY}", "write it in the imperative"),
        (f"Adds a rule\n\n{_BODY}", "write it in the imperative"),
        (f"{_SUBJECT}\n{_BODY}", "leave one blank line"),
        (_SUBJECT, "Say what was wrong or missing, what now holds, and how it was proved."),
        (f"{_SUBJECT}\n\nSigned-off-by: A <a@b.example>", "There is no body"),
    ],
)
def test_a_message_that_breaks_a_rule_is_refused_with_advice(checkout: Path, message: str, advice: str) -> None:
    said = commit(checkout, message)
    assert advice in said
    assert "git commit -eF" in said


def test_all_problems_are_named_at_once(checkout: Path) -> None:
    assert commit(checkout, f"added {'a' * 80}.").count("commit message:") == 5


def test_a_trivial_change_needs_no_body(checkout: Path) -> None:
    assert commit(checkout, "Fix a typo", changed_lines=_FEW) == ""
    assert f"up to {_FEW} changed lines" in " ".join(read_doc("CONTRIBUTING.md").split())


def test_the_set_up_installs_the_check() -> None:
    rules = read_doc("Makefile")
    assert "setup-dev: $(VENV)/.dev hooks" in rules
    assert "git config core.hooksPath .githooks" in rules
    assert os.access(_HOOKS / "commit-msg", os.X_OK)
