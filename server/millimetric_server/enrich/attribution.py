"""Attributes visits: one engine that runs versioned rule sets over a url and a referrer.

Pure and total: tables load at import, a call does no I/O, and no text makes it raise.
"""

import tomllib
from collections.abc import Callable, Mapping
from functools import lru_cache
from importlib.resources import files
from types import MappingProxyType

import msgspec

from millimetric_server.enrich.rule_terms import (
    MEDIUM_NAMES,
    SOURCE_NAMES,
    Condition,
    find_condition,
    find_outcome,
)
from millimetric_server.enrich.tags import READINGS, Reading
from millimetric_server.enrich.visit import Visit, read_visit

DEFAULT_RULE_SET = "standard-2"

_CACHED_VISITS = 16_384
# Longer visits are rare and seldom repeated; leaving them out bounds the cache at some tens of megabytes.
_CACHED_CHARS_MAX = 1024


class Attribution(msgspec.Struct, frozen=True):
    """The answer: source and medium in lower case, campaign as sent, confidence high, medium or low."""

    source: str
    medium: str
    campaign: str
    confidence: str
    rule_id: str


class Explanation(msgspec.Struct, frozen=True):
    """The answer, what it was read from, and the rules passed over before: (rule_id, why), in order."""

    attribution: Attribution
    rule_set: str
    parameters: Mapping[str, str]
    page_host: str
    referrer_host: str
    passed_over: tuple[tuple[str, str], ...]


class Rule(msgspec.Struct, frozen=True):
    """One row of a rule set: when all conditions hold, the outcome."""

    rule_id: str
    conditions: tuple[Condition, ...]
    name_source: Callable[[Visit], str]
    name_medium: Callable[[Visit], str]
    confidence: str

    def find_failure(self, visit: Visit) -> Condition | None:
        """The first condition that a visit fails, or None if the rule fires."""
        for condition in self.conditions:
            if not condition.holds(visit):
                return condition
        return None

    def decide(self, visit: Visit) -> Attribution:
        """The answer for a visit that meets the conditions."""
        return Attribution(
            source=self.name_source(visit),
            medium=self.name_medium(visit),
            campaign=visit.campaign,
            confidence=self.confidence,
            rule_id=self.rule_id,
        )


class RuleSet(msgspec.Struct, frozen=True):
    """An ordered list of rules; the last has no conditions, so that one always fires.

    `reading` is how it reads visits. `untagged_rules` are those that can fire for a url without parameters, which
    most visits have; `unmarked_rules` those that can for one without any of `marks`, the parameters that rules ask for.
    """

    name: str
    version: str
    reading: Reading
    rules: tuple[Rule, ...]
    untagged_rules: tuple[Rule, ...]
    unmarked_rules: tuple[Rule, ...]
    marks: frozenset[str]

    def find_rule(self, visit: Visit) -> Rule:
        """The first rule that fires."""
        for rule in self._list_candidates(visit.parameters):
            for condition in rule.conditions:
                if not condition.holds(visit):
                    break
            else:
                return rule
        return self.rules[-1]

    def _list_candidates(self, parameters: Mapping[str, str]) -> tuple[Rule, ...]:
        if not parameters:
            return self.untagged_rules
        return self.unmarked_rules if self.marks.isdisjoint(parameters) else self.rules


def classify(
    url: str,
    referrer: str,
    rule_set: str,
    own_hosts: frozenset[str] = frozenset(),
    ignored_hosts: frozenset[str] = frozenset(),
) -> Attribution:
    """Attribute a visit to a source, by one of RULE_SETS.

    Args:
        url: The visited page. It and the referrer are read up to 2048 characters (the page under standard-2 up to
            8192); what does not parse as a url counts as absent.
        referrer: The page or the app (`android-app://`, `ios-app://`) before it.
        rule_set: A key of RULE_SETS.
        own_hosts: Hosts of the project's own origins, in lower case and ASCII, without port: a referrer on
            one is internal. `*.example.com` stands for any subdomain of example.com.
        ignored_hosts: Hosts that begin no visit for this project, each with its subdomains.

    Raises:
        KeyError: There is no such rule set.
    """
    if len(url) + len(referrer) <= _CACHED_CHARS_MAX:
        return _classify_cached(url, referrer, rule_set, own_hosts, ignored_hosts)
    return _classify(url, referrer, rule_set, own_hosts, ignored_hosts)


def explain(
    url: str,
    referrer: str,
    rule_set: str,
    own_hosts: frozenset[str] = frozenset(),
    ignored_hosts: frozenset[str] = frozenset(),
) -> Explanation:
    """Classify, and return what was read and why each earlier rule did not fire. Raises as classify does."""
    rules = RULE_SETS[rule_set]
    visit = read_visit(url, referrer, rules.reading, own_hosts, ignored_hosts)
    passed_over = []
    for rule in rules.rules:
        failure = rule.find_failure(visit)
        if failure is None:
            break
        passed_over.append((rule.rule_id, failure.why_not))
    return Explanation(
        attribution=rule.decide(visit),
        rule_set=rules.name,
        parameters=visit.parameters,
        page_host=visit.page_host,
        referrer_host=visit.referrer.host,
        passed_over=tuple(passed_over),
    )


def load_rule_set(text: str) -> RuleSet:
    """Read a rule set in the form of data/rules_*.toml.

    Raises KeyError for an unknown reading, condition or name, ValueError if rule ids repeat or the last can fail.
    """
    data = tomllib.loads(text)
    reading = READINGS[data.get("reading", "as_written")]
    rules = tuple(
        Rule(
            rule_id=row["id"],
            conditions=tuple(find_condition(name, reading.parameters) for name in row["when"]),
            name_source=find_outcome(row["source"], SOURCE_NAMES),
            name_medium=find_outcome(row["medium"], MEDIUM_NAMES),
            confidence=row["confidence"],
        )
        for row in data["rules"]
    )
    if rules[-1].conditions or len({rule.rule_id for rule in rules}) < len(rules):
        raise ValueError(f"{data['name']}: rule ids must differ, and the last rule must have no conditions")
    marks = frozenset(condition.mark for rule in rules for condition in rule.conditions if condition.mark)
    return RuleSet(
        name=data["name"],
        version=data["version"],
        reading=reading,
        rules=rules,
        untagged_rules=tuple(rule for rule in rules if not any(c.needs_parameters for c in rule.conditions)),
        unmarked_rules=tuple(rule for rule in rules if not any(c.mark for c in rule.conditions)),
        marks=marks,
    )


def _load_shipped() -> Mapping[str, RuleSet]:
    folder = files(__package__) / "data"
    names = ("rules_standard_2.toml", "rules_standard_1.toml", "rules_millimetric_1.toml")
    loaded = (load_rule_set((folder / name).read_text("utf-8")) for name in names)
    return MappingProxyType({rule_set.name: rule_set for rule_set in loaded})


RULE_SETS: Mapping[str, RuleSet] = _load_shipped()


def _classify(
    url: str, referrer: str, rule_set: str, own_hosts: frozenset[str], ignored_hosts: frozenset[str]
) -> Attribution:
    rules = RULE_SETS[rule_set]
    visit = read_visit(url, referrer, rules.reading, own_hosts, ignored_hosts)
    return rules.find_rule(visit).decide(visit)


_classify_cached = lru_cache(maxsize=_CACHED_VISITS)(_classify)
