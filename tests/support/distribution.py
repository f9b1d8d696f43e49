"""How tests are shared out between processes: who gets what, and in which order."""

import pytest
from xdist.scheduler import LoadScopeScheduling

# Their tests have nothing in common, so each may run in another process.
_APART = (
    "tests/contract/test_cases.py",
    "tests/integration/test_crash.py",
    "tests/integration/test_erasure_crash.py",
    "tests/integration/test_outage.py",
    "tests/integration/test_power_cut.py",
)
_SHORT = "tests/contract/test_cases.py"


class FilesScheduling(LoadScopeScheduling):
    """A process takes a file at a time, since a file's tests share a server; of some files a test at a time."""

    def _split_scope(self, nodeid: str) -> str:
        path = nodeid.partition("::")[0]
        return nodeid if path in _APART else path


def sort_for_sharing(items: list[pytest.Item]) -> None:
    """The long ones first and the shortest last, so that all processes end at about the same time."""
    items.sort(key=_rank)


def _rank(item: pytest.Item) -> int:
    if item.get_closest_marker("slow"):
        return 0
    return 2 if item.nodeid.startswith(_SHORT) else 1
