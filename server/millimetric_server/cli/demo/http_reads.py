"""Reads of a running server over REST, with the standard library's client."""

import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from http.client import HTTPException
from typing import Any

from millimetric_server.cli.addresses import is_loopback

_TIMEOUT_S = 30.0


class ReadError(Exception):
    """The server did not answer as hoped; the message is a sentence, `reason` our word for it or empty."""

    def __init__(self, message: str, reason: str = "") -> None:
        super().__init__(message)
        self.reason = reason


def read_json(
    url: str,
    path: str,
    key: str = "",
    *,
    params: Mapping[str, str] | None = None,
    timeout_s: float = _TIMEOUT_S,
) -> dict[str, Any]:
    """GET a JSON object. Raises ReadError."""
    address = f"{url.rstrip('/')}{path}"
    if params:
        address += f"?{urllib.parse.urlencode(params)}"
    if not address.startswith(("http://", "https://")):
        raise ReadError(f"{url} is not an http:// or https:// URL.")
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    handlers = [urllib.request.ProxyHandler({})] if is_loopback(url) else []
    try:
        request = urllib.request.Request(address, headers=headers)  # noqa: S310 - the scheme was checked
        with urllib.request.build_opener(*handlers).open(request, timeout=timeout_s) as response:
            return _read_object(response.read(), url)
    except urllib.error.HTTPError as error:
        with error:
            reason = str(_read_object(error.read(), url).get("error", ""))
        raise ReadError(f"The server at {url} answered {error.code} {reason}.", reason) from None
    except (OSError, HTTPException, ValueError) as error:
        raise ReadError(
            f"No server answers at {url}. Start one with `millimetric serve` or `make run`, or give its address."
        ) from error


def read_text(url: str, *, timeout_s: float = _TIMEOUT_S) -> str:
    """GET a text from an address of this machine or its network, without a proxy. Raises ReadError."""
    try:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(url, timeout=timeout_s) as response:
            text: str = response.read().decode(errors="replace")
    except (OSError, HTTPException, ValueError) as error:
        raise ReadError(f"The server at {url} did not answer properly.") from error
    return text


def _read_object(body: bytes, url: str) -> dict[str, Any]:
    try:
        value = json.loads(body)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise ReadError(f"The server at {url} is not a Millimetric server.")
    return value
