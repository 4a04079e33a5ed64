"""Units of measure: parsed once, at the edge, and carried as types.

Each is a frozen value that pydantic reads from what people write and writes back the same way.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, PydanticCustomError, core_schema


class _Measure:
    """What the measures share: how pydantic reads them and how the schema shows them."""

    _pattern: ClassVar[str]
    _numbers: ClassVar[bool] = True
    _says: ClassVar[str]
    _examples: ClassVar[list[str | int]]

    @classmethod
    def parse(cls, value: str | int | float) -> Self:
        raise NotImplementedError  # each measure has its own

    @classmethod
    def _validate(cls, value: object) -> Self:
        if isinstance(value, cls):
            return value
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise PydanticCustomError("measure", "{says}", {"says": cls._says})
        if not cls._numbers and not isinstance(value, str):
            raise PydanticCustomError("measure", "{says}", {"says": cls._says})
        try:
            return cls.parse(value)
        except (ValueError, OverflowError):
            raise PydanticCustomError("measure", "{says}", {"says": cls._says}) from None

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            cls._validate, serialization=core_schema.plain_serializer_function_ser_schema(str)
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        text: dict[str, Any] = {"type": "string", "pattern": cls._pattern}
        about = {"description": cls._says, "examples": cls._examples}
        if not cls._numbers:
            return text | about
        return {"anyOf": [text, {"type": "number", "minimum": 0}]} | about


_DURATION = re.compile(r"^(?:(\d+(?:\.\d+)?)(ms|s|m|h|d|w))+$")
_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d|w)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}


@dataclass(frozen=True, order=True, slots=True)
class Seconds(_Measure):
    """A span of time: `500ms`, `10s`, `1h30m`, `7d`, or a number of seconds."""

    seconds: float

    _pattern: ClassVar[str] = r"^(\d+(\.\d+)?(ms|s|m|h|d|w))+$"
    _says: ClassVar[str] = "a span of time: write 500ms, 10s, 1h30m, 7d or a number of seconds"
    _examples: ClassVar[list[str | int]] = ["500ms", "10s", "7d"]

    @classmethod
    def parse(cls, value: str | int | float) -> Self:
        if isinstance(value, str):
            if not _DURATION.match(value):
                raise ValueError(value)
            value = sum(float(n) * _SECONDS[u] for n, u in _DURATION_PART.findall(value))
        if not 0 <= value < 1e12:
            raise ValueError(value)
        return cls(float(value))

    def __str__(self) -> str:
        for unit in ("w", "d", "h", "m", "s"):
            size = _SECONDS[unit]
            if self.seconds >= size and self.seconds % size == 0:
                return f"{int(self.seconds // size)}{unit}"
        if self.seconds == int(self.seconds):
            return f"{int(self.seconds)}s"
        return f"{self.seconds * 1000:g}ms"


_RATE = re.compile(r"^(\d+(?:\.\d+)?)([kKmMgG]?)$")
_RATES = {"": 1, "k": 1_000, "m": 1_000_000, "g": 1_000_000_000}


@dataclass(frozen=True, order=True, slots=True)
class Bitrate(_Measure):
    """Bits a second: `4500k`, `6M`, or a number of bits."""

    bps: int

    _pattern: ClassVar[str] = r"^\d+(\.\d+)?[kKmMgG]?$"
    _says: ClassVar[str] = "a bit rate: write 4500k, 6M or a number of bits a second"
    _examples: ClassVar[list[str | int]] = ["4500k", "6M"]

    @classmethod
    def parse(cls, value: str | int | float) -> Self:
        match = _RATE.match(str(value))
        if not match:
            raise ValueError(value)
        bps = round(float(match[1]) * _RATES[match[2].lower()])
        if not 0 < bps < 10**12:
            raise ValueError(value)
        return cls(bps)

    @property
    def kbps(self) -> float:
        return self.bps / 1000

    def __str__(self) -> str:
        return f"{self.bps // 1000}k" if self.bps % 1000 == 0 else str(self.bps)


_SIZE = re.compile(r"^(\d+(?:\.\d+)?)\s?([kKmMgGtT]?)(i?)[bB]?$")


@dataclass(frozen=True, order=True, slots=True)
class Size(_Measure):
    """Bytes: `512M`, `10GiB`, or a number of bytes. `k M G T` count in 1024s, as people mean them for memory."""

    bytes: int

    _pattern: ClassVar[str] = r"^\d+(\.\d+)?\s?[kKmMgGtT]?i?[bB]?$"
    _says: ClassVar[str] = "a size: write 512M, 10G or a number of bytes"
    _examples: ClassVar[list[str | int]] = ["512M", "10G"]

    @classmethod
    def parse(cls, value: str | int | float) -> Self:
        match = _SIZE.match(str(value))
        if not match:
            raise ValueError(value)
        size = round(float(match[1]) * 1024 ** " kmgt".index(match[2].lower() or " "))
        if not 0 <= size < 2**60:
            raise ValueError(value)
        return cls(size)

    def __str__(self) -> str:
        for power, unit in ((4, "T"), (3, "G"), (2, "M"), (1, "k")):
            if self.bytes and self.bytes % 1024**power == 0:
                return f"{self.bytes // 1024**power}{unit}"
        return str(self.bytes)


_RESOLUTION = re.compile(r"^(\d{1,5})x(\d{1,5})$")


@dataclass(frozen=True, order=True, slots=True)
class Resolution(_Measure):
    """Width and height in pixels: `1920x1080`."""

    width: int
    height: int

    _pattern: ClassVar[str] = r"^\d{1,5}x\d{1,5}$"
    _numbers: ClassVar[bool] = False
    _says: ClassVar[str] = "a resolution: write WIDTHxHEIGHT in pixels, such as 1920x1080"
    _examples: ClassVar[list[str | int]] = ["1280x720", "1920x1080"]

    @classmethod
    def parse(cls, value: str | int | float) -> Self:
        match = _RESOLUTION.match(str(value))
        if not match:
            raise ValueError(value)
        width, height = int(match[1]), int(match[2])
        if not (1 <= width <= 32767 and 1 <= height <= 32767):
            raise ValueError(value)
        return cls(width, height)

    def fits(self, other: Resolution) -> bool:
        """Whether this lies within `other`."""
        return self.width <= other.width and self.height <= other.height

    def __str__(self) -> str:
        return f"{self.width}x{self.height}"
