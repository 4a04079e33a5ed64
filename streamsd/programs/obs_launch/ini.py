"""OBS's ini files: some keys set, everything else left as OBS wrote it."""

from __future__ import annotations

from collections.abc import Mapping

Ini = dict[str, dict[str, str]]


def read_ini(text: str) -> Ini:
    """Sections and their keys, in order. Lines that are neither are dropped, as OBS drops them when it saves."""
    sections: Ini = {}
    current: dict[str, str] = {}
    for line in text.lstrip("\ufeff").splitlines():
        line = line.strip()
        if line.startswith("[") and line.endswith("]"):
            current = sections.setdefault(line[1:-1], {})
        elif "=" in line and not line.startswith(("#", ";")):
            key, _, value = line.partition("=")
            current[key.strip()] = value.strip()
    return sections


def write_ini(sections: Mapping[str, Mapping[str, str]]) -> str:
    blocks = (
        f"[{name}]\n" + "".join(f"{key}={value}\n" for key, value in keys.items()) for name, keys in sections.items()
    )
    return "\n".join(blocks)


def merged(text: str, wanted: Mapping[str, Mapping[str, str]]) -> str:
    """The file with these keys set."""
    sections = read_ini(text)
    for name, keys in wanted.items():
        sections.setdefault(name, {}).update(keys)
    return write_ini(sections)
