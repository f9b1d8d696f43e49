"""Types that all packages share: calls, errors and messages."""
