"""JSON from a server by the standard library: bounded in time and size, and one clear error where it fails.

Redirects are not followed, since what authorises a request would go along to wherever they lead.
"""

import json
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from http.client import HTTPException
from typing import Any
from urllib.parse import urlencode

from descentcast.errors import DataError

TIMEOUT = 60.0  # seconds for a server to say something
LARGEST = 1 << 29  # bytes of one answer
BUSY, WAITS = (429, 502, 503, 504), (0.5, 2.0)  # statuses after which a request is sent again, seconds before that
SHOWN = 200  # characters of a server's message


class _Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, req: Any, fp: Any, code: Any, msg: Any, headers: Any, newurl: Any) -> None:
        return None


OPENER = urllib.request.build_opener(_Stay)


def answer(
    url: str,
    parameters: Mapping[str, Any] | None = None,
    body: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Return the JSON object that a server answers with.

    Args:
        url: Where, http or https, without a query.
        parameters: The query.
        body: What to post; without it the request is a GET.
        headers: More headers, such as one that authorises.

    Raises:
        DataError: No server, a status other than 200, or no JSON object; the message begins with the URL.
    """
    request = urllib.request.Request(
        f"{url}?{urlencode(parameters)}" if parameters else url,
        None if body is None else json.dumps(body).encode(),
        {"Accept": "application/json", "Content-Type": "application/json", **(headers or {})},
    )
    try:
        raw = _bytes(request, url)
    except urllib.error.HTTPError as error:
        raise DataError(f"{url}: {_said(error)}") from None
    except (OSError, HTTPException) as error:
        raise _silent(url, error) from None
    try:
        found = json.loads(raw)
    except (UnicodeDecodeError, ValueError, RecursionError):
        raise DataError(f"{url}: the answer is not JSON: is this the server's address?") from None
    if not isinstance(found, dict):
        raise DataError(f"{url}: the answer is no JSON object: is this the server's address?")
    return found


def check_reached(url: str) -> None:
    """Check that a server answers at all, whatever it says.

    Raises:
        DataError: It does not.
    """
    try:
        OPENER.open(url, timeout=TIMEOUT).close()
    except urllib.error.HTTPError as error:
        error.close()
    except (OSError, HTTPException, ValueError) as error:
        raise _silent(url, error) from None


def _silent(url: str, error: Exception) -> DataError:
    reason = getattr(error, "reason", None) or error
    return DataError(f"{url}: no answer: {_line(getattr(reason, 'strerror', None) or reason)}")


def _bytes(request: urllib.request.Request, url: str) -> bytes:
    waits = list(WAITS)
    while True:
        try:
            with OPENER.open(request, timeout=TIMEOUT) as reply:
                found = reply.read(LARGEST + 1)
        except urllib.error.HTTPError as error:
            if error.code not in BUSY or not waits:
                raise
            error.close()
            time.sleep(waits.pop(0))
            continue
        if len(found) > LARGEST:
            raise DataError(f"{url}: an answer of more than {LARGEST >> 20} MB")
        return found


def _said(error: urllib.error.HTTPError) -> str:
    """Return what a refusal says, in one line."""
    if 300 <= error.code < 400:
        return f"the server sends elsewhere, to {_line(error.headers.get('Location'))}: name that address"
    text = f"status {error.code}, {error.reason}"
    try:
        message = json.loads(error.read(1 << 16)).get("message")
    except (OSError, HTTPException, ValueError, RecursionError, AttributeError):
        message = None
    return _line(f"{text}: {message}" if message else text)


def _line(text: Any) -> str:
    line = " ".join(str(text).split())
    return "".join(c if c.isprintable() else "?" for c in line)[:SHOWN]
