"""Messages from and to bytes: JSON and Protobuf, compressed or not, within bounds."""
