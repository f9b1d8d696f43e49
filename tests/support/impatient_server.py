"""`millimetric serve` that waits two seconds for a caller who stalls: `python -m support.impatient_server serve`."""

from millimetric_server.cli import main
from millimetric_server.doors.grpc import pool as grpc_pool
from millimetric_server.doors.grpc import server_stream as grpc_stream
from millimetric_server.doors.http import response

PATIENCE_S = 2.0

if __name__ == "__main__":
    for module in (grpc_stream, response):
        assert module.STALLED_S > PATIENCE_S
        module.STALLED_S = PATIENCE_S
    assert grpc_pool.MESSAGE_TIMEOUT_S > PATIENCE_S
    grpc_pool.MESSAGE_TIMEOUT_S = PATIENCE_S
    main()
