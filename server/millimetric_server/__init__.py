"""The Millimetric server: events in by gRPC, Connect and REST; answers out of ClickHouse."""

__version__ = "0.1.0"
