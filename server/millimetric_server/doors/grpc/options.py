"""How grpc-core treats connections and messages, in its own words (grpc/impl/channel_arg_names.h)."""

_COMPRESSION_LOW = 1
_STREAMS_PER_CONNECTION = 1000
_PENDING_CALLS_MAX = 10_000
_PING_INTERVAL_MIN_MS = 4_000
_MARGIN_BYTES = 4 * 1024 * 1024


def make_options(body_bytes_max: int, connection_age_s: int, connection_grace_s: int) -> tuple[tuple[str, int], ...]:
    """Make the server's options; a connection age of 0 is without end."""
    options = [
        # Also after decompression. grpc-core refuses what is larger with words of its own; up to this we refuse it.
        ("grpc.max_receive_message_length", body_bytes_max + _MARGIN_BYTES),
        ("grpc.max_send_message_length", -1),
        # With gzip where the client accepts it; calls take it back for messages that are not worth it.
        ("grpc.default_compression_level", _COMPRESSION_LOW),
        ("grpc.so_reuseport", 0),
        # Clients hold back what goes beyond. Calls of many connections are all taken, and refused with a reason:
        # grpc-core would reset them at random from 1,000 on, which clients see as a bare CANCELLED.
        ("grpc.max_concurrent_streams", _STREAMS_PER_CONNECTION),
        ("grpc.http.overload_protection", 0),  # else ended calls count too until Python has released them
        ("grpc.server.max_pending_requests", _PENDING_CALLS_MAX),
        ("grpc.server.max_pending_requests_hard_limit", 2 * _PENDING_CALLS_MAX),
        # Clients and balancers ping quiet connections, often each 10 s; grpc-core's default takes one in 5 minutes.
        ("grpc.http2.min_ping_interval_without_data_ms", _PING_INTERVAL_MIN_MS),
        ("grpc.keepalive_permit_without_calls", 1),
    ]
    if connection_age_s:
        options.append(("grpc.max_connection_age_ms", connection_age_s * 1000))
        options.append(("grpc.max_connection_age_grace_ms", connection_grace_s * 1000))
    return tuple(options)
