"""The message of the notes: 93 bytes of JSON, 6 fields, 500 devices."""

from __future__ import annotations

import random
from typing import Any

SCHEMA = {"device": "str", "temp_c": "float", "hum": "float", "ts": "time_ms", "room": "str", "seq": "int"}
START = 1_700_000_000_000
PASS: list[dict[str, Any]] = [
    {"filter": "temp_c > 10"},
    {"map": {"device": "device", "temp_f": "temp_c * 1.8 + 32", "ts": "ts"}},
]


def window(typed: bool) -> list[dict[str, Any]]:
    time = "ts" if typed else "time_ms(ts)"
    emit = {"n": "count()", "mean": "mean(temp_c)"}
    return [{"filter": "temp_c > -40"}, {"window": {"tumbling": "1s", "key": "device", "time": time, "emit": emit}}]


def make(count: int, per_second: int = 50_000) -> list[bytes]:
    chance = random.Random(1)
    return [
        b'{"device":"dev-%03d","temp_c":%.1f,"hum":%.2f,"ts":%d,"room":"r%02d","seq":%d}'
        % (
            chance.randrange(500),
            chance.random() * 60 - 20,
            chance.random() * 100,
            START + i * 1000 // per_second,
            i % 20,
            i,
        )
        for i in range(count)
    ]
