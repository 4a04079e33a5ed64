"""What a profile says of a web server."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from streamsd.core.change import OnChange
from streamsd.core.kind import Spec


class ServerSpec(Spec):
    """A small web server: the HLS of streams, and a page to watch each."""

    listen: str = Field(default="127.0.0.1:8088", pattern=r"^(\[[0-9a-fA-F:.]+\]|[0-9A-Za-z.-]+):[1-9][0-9]{0,4}$")
    """Address and port. With 127.0.0.1 only this host can watch; `0.0.0.0:8088` lets everybody who reaches the host."""

    description: Annotated[str, OnChange.NONE] = ""
    """For people."""

    @property
    def host(self) -> str:
        return self.listen.rpartition(":")[0].strip("[]")

    @property
    def port(self) -> int:
        return int(self.listen.rpartition(":")[2])
