"""What the server derives from an event: pure steps, every rule is data with a version."""
