"""The built client package brings its types: a user's mistakes are errors of mypy --strict, and nothing else is."""

import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from repo.doc_files import ROOT

_CLIENT = ROOT / "clients" / "python"
_USER = Path(__file__).with_name("user.py")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The client package as pip gets it."""
    folder = tmp_path_factory.mktemp("wheel")
    _run("-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder), cwd=_CLIENT)
    [built] = folder.glob("*.whl")
    return built


def test_the_wheel_holds_all_generated_files_and_their_types(wheel: Path) -> None:
    held = {name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("millimetric/")}
    sources = {path for path in (_CLIENT / "src").rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    assert held == {str(path.relative_to(_CLIENT / "src")) for path in sources}
    assert "millimetric/py.typed" in held
    typed = {name.removesuffix("i") for name in held if name.endswith(".pyi")}
    assert {name for name in held if name.endswith(("_pb2.py", "_pb2_grpc.py"))} == typed


def test_what_users_write_is_checked_strictly(wheel: Path, tmp_path: Path) -> None:
    python = _install(wheel, tmp_path / "venv")
    _run(
        *("-m", "mypy", "--strict", "--config-file=", f"--cache-dir={tmp_path / 'cache'}"),
        *(f"--python-executable={python}", "user.py"),
        cwd=_USER.parent,
    )


def _install(wheel: Path, folder: Path) -> Path:
    """Make an environment with the wheel; what it depends on is taken from this one."""
    _run("-m", "venv", "--without-pip", str(folder), cwd=_CLIENT)
    [packages] = folder.glob("lib/*/site-packages")
    zipfile.ZipFile(wheel).extractall(packages)
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    return folder / "bin" / "python"


def _run(*arguments: str, cwd: Path) -> None:
    environ = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "MYPYPATH")}
    command = [sys.executable, *arguments]
    done = subprocess.run(command, cwd=cwd, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}"
