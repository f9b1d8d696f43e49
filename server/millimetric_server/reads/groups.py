"""The groups of Stats: columns of events, parts of their urls, properties, and what their visits have."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from millimetric_server.api.errors import AppError, Reason, invalid_params
from millimetric_server.reads.columns import ALIASES, GROUP_COLUMNS
from millimetric_server.reads.conditions import Conditions
from millimetric_server.reads.filters import find_property
from millimetric_server.reads.property_filters import take_text

_GROUPS_MAX = 10
_TAG = "decodeURLFormComponent(extractURLParameter(url, '{name}'))"
_OF_URLS: Mapping[str, str] = {
    "hostname": "domain(url)",
    "referrer_host": "domain(referrer)",
    "utm_content": _TAG.format(name="utm_content"),
    "utm_term": _TAG.format(name="utm_term"),
}
_OF_VISITS = ("session_source", "session_medium", "session_campaign", "landing_path", "exit_path")
_OF_FIRST_VISITS = ("first_source", "first_medium", "first_campaign")


class Group(NamedTuple):
    """A group column by its name, and its SQL; of a property, the path."""

    name: str
    sql: str = ""
    path: tuple[str, ...] = ()

    @property
    def needs_first(self) -> bool:
        """Whether visitors' first visits must be looked up for it."""
        return self.name in _OF_FIRST_VISITS

    @property
    def needs_visits(self) -> bool:
        """Whether events must be joined to their visits for it."""
        return self.needs_first or self.name in _OF_VISITS

    @property
    def needs_whole_visits(self) -> bool:
        """Whether more than the entry of a visit must be known for it."""
        return self.name == "exit_path"

    def write(self, conditions: Conditions) -> str:
        """SQL for the group's value, a text."""
        return take_text(conditions, self.path) if self.path else self.sql


def check_groups(names: Sequence[str]) -> tuple[Group, ...]:
    """Check the columns to group by. Raises AppError invalid_group_by, invalid_params."""
    if len(names) > _GROUPS_MAX:
        raise invalid_params("group_by", f"at most {_GROUPS_MAX} columns")
    groups = tuple(_find_group(ALIASES.get(name, name)) for name in names)
    if len(set(groups)) != len(groups):
        raise invalid_params("group_by", "names a column twice")
    return groups


def _find_group(name: str) -> Group:
    if sql := GROUP_COLUMNS.get(name) or _OF_URLS.get(name):
        return Group(name, sql)
    if name in _OF_VISITS or name in _OF_FIRST_VISITS:
        return Group(name, name)
    if name.startswith("properties.") and (path := find_property(name, "group_by")):
        return Group(name, path=tuple(path))
    allowed = (*GROUP_COLUMNS, *_OF_URLS, *_OF_VISITS, *_OF_FIRST_VISITS, "properties.<path>")
    raise AppError(Reason.INVALID_GROUP_BY, f"`{name[:64]}` is not a group column", allowed=allowed)
