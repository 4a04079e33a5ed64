"""The names that generated code runs with. Nothing else is in its reach: it has no builtins."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import msgspec

from streamsd.flow import moments
from streamsd.flow.expressions import calendar
from streamsd.flow.expressions import runtime as rt

NAMES: Mapping[str, Any] = {
    "__builtins__": {},
    "None": None,
    "UNSET": msgspec.UNSET,
    "dict": dict,
    "len": len,
    "min": min,
    "max": max,
    "abs": abs,
    "sum": sum,
    "sorted": sorted,
    "round": round,
    "zip": zip,
    "ceil": math.ceil,
    "floor": math.floor,
    "sqrt": math.sqrt,
    "exp": math.exp,
    "from_text": moments.from_text,
    "to_text": moments.to_text,
    **{
        function.__name__: function
        for function in (
            rt.after,
            rt.as_bool,
            rt.as_bytes,
            rt.as_int,
            rt.as_list,
            rt.as_map,
            rt.as_micros,
            rt.as_number,
            rt.as_str,
            rt.blake2b,
            rt.bounded,
            rt.bucket,
            rt.clamp,
            rt.concat,
            rt.contains,
            rt.crc32,
            rt.cut,
            rt.first,
            rt.format_number,
            calendar.format_time,
            rt.get,
            rt.hashable,
            rt.index_of,
            rt.is_finite,
            rt.join,
            rt.joined,
            rt.last,
            rt.length,
            rt.limited,
            rt.log,
            rt.mean,
            rt.missing,
            rt.modulo,
            rt.multiply,
            rt.no_match,
            rt.no_row,
            rt.pad_left,
            rt.parse_json,
            rt.power,
            rt.replace_text,
            rt.round_int,
            rt.round_to,
            calendar.seconds_text,
            calendar.seconds_to_micros,
            rt.sha256,
            rt.sign,
            rt.split,
            rt.substr,
            rt.to_bool,
            rt.to_float,
            rt.to_int,
            rt.to_json,
            rt.to_str,
            calendar.truncate,
            rt.type_of,
            rt.unique,
            calendar.weekday,
            rt.weighed,
        )
    },
    **{part: calendar.parts_of(part) for part in ("year", "month", "day", "hour", "minute", "second")},
}
