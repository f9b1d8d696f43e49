"""`millimetric serve` that waits two seconds for stalled callers: `python -m support.impatient_server serve`."""

from millimetric_server.cli import main
from millimetric_server.transport import grpc_export, response

PATIENCE_S = 2.0

if __name__ == "__main__":
    for module in (grpc_export, response):
        assert module.STALLED_S > PATIENCE_S
        module.STALLED_S = PATIENCE_S
    main()
