"""Attribution made anew for stored events, by another set of rules."""
