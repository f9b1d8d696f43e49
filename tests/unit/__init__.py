"""Code alone: neither network nor disk."""
