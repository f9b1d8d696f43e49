"""What every room speaks of: calls, errors and messages."""
