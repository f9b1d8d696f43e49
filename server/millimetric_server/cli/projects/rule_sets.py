"""Names of attribution rule sets on the command line."""

import click


def check_rule_set(name: str) -> str:
    """Return the name of a rule set that there is. Raises click.BadParameter with the list of them."""
    from millimetric_server.enrich.attribution import RULE_SETS  # its tables take a moment to load

    if name not in RULE_SETS:
        raise click.BadParameter(
            f"{name!r} is not a rule set; choose one of {', '.join(RULE_SETS)}.", param_hint="--rule-set"
        )
    return name
