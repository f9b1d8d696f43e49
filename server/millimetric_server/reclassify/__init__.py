"""Applies another rule set to stored events."""
