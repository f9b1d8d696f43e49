"""What several tests share: a real server process and its keys."""
