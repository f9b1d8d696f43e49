"""Explains why a door can't listen on its address, and what to do."""

import errno
import os
import socket


def explain_bind(door: str, host: str, port: int, error: OSError | None = None) -> str:
    """Explain why `door` (HTTP or gRPC) could not listen on an address; without an error, find the reason."""
    error = error or _try(host, port)
    flag = f"--{door.lower()}-port (MILLIMETRIC_{door.upper()}_PORT)"
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    if isinstance(error, socket.gaierror) or (error is not None and error.errno == errno.EADDRNOTAVAIL):
        return (
            f"can't listen for {door} on {address}: {host} is not an address of this machine. "
            "Choose another --host (MILLIMETRIC_HOST)"
        )
    if error is not None and error.errno == errno.EACCES:
        return f"can't listen for {door} on {address}: this user lacks permission. Choose a port above 1023 with {flag}"
    reason = "the port is in use" if error is None or error.errno == errno.EADDRINUSE else os.strerror(error.errno or 0)
    return f"can't listen for {door} on {address}: {reason}. Stop the other program, or choose another {flag}"


def _try(host: str, port: int) -> OSError | None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.bind((host, port))
    except OSError as error:
        return error
    return None
