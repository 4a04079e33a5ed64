"""Asking a running flow: one JSON request, one JSON answer, over its control socket."""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def ask(path: Path, request: Mapping[str, Any], timeout: float = 15.0) -> dict[str, Any]:
    """One request to a runner. OSError when it does not answer, ValueError when it answers nonsense."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(timeout)
        client.connect(str(path))
        client.sendall(json.dumps(request).encode() + b"\n")
        data = b""
        while not data.endswith(b"\n"):
            more = client.recv(65536)
            if not more:
                raise ConnectionError("the runner closed the connection")
            data += more
    answer = json.loads(data)
    if not isinstance(answer, dict):
        raise ValueError("not an answer")
    return answer
