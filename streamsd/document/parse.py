"""Text to nodes: checks the bytes, builds the tree, and spares what was read before.

An edit inside of one entry of a large file costs reading that entry again, not the file (see reparse).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from yaml.error import MarkedYAMLError, YAMLError

from streamsd.core.diagnostics import Diagnostic, Source
from streamsd.document.build import Builder, Stop
from streamsd.document.cache import CostCache
from streamsd.document.findings import Findings
from streamsd.document.nodes import MAX_BYTES, MapNode, Node
from streamsd.document.reparse import Snapshot, reparse
from streamsd.document.syntax import BREAK, fault


@dataclass(frozen=True, slots=True)
class Parsed:
    """`root` is None when the text cannot be used at all; other errors leave a tree with the faulty part left out."""

    root: Node | None
    diagnostics: tuple[Diagnostic, ...]


_PARSED: CostCache[Parsed] = CostCache(4 * MAX_BYTES)
_NEWEST: CostCache[Snapshot] = CostCache(2 * MAX_BYTES)
_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def parse(data: bytes, file: str) -> Parsed:
    """Read one YAML document. `file` is what diagnostics call it. Equal bytes are read once."""
    found = _PARSED.get((file, data))
    if found is None:
        found = _parse(data, file)
        _PARSED.put((file, data), found, len(data))
    return found


def _parse(data: bytes, file: str) -> Parsed:
    findings = Findings()
    text = _decode(data, file, findings)
    if text is None:
        return Parsed(None, findings.ordered())
    before = _NEWEST.get(file)
    root: Node | None = reparse(before, text) if before else None
    simple = True
    if root is None:
        root, simple = _build(text, file, findings)
    if simple and not findings.errors and isinstance(root, MapNode):
        _NEWEST.put(file, Snapshot(text, root, file), len(data))
    return Parsed(root, findings.ordered())


def _build(text: str, file: str, findings: Findings) -> tuple[Node | None, bool]:
    builder = Builder(text, file, findings)
    try:
        return builder.build(), builder.simple
    except MarkedYAMLError as error:
        findings.add(fault(error, text, file))
    except YAMLError as error:  # the reader's own, without a mark: what _decode lets pass
        findings.error("yaml-syntax", str(error).splitlines()[0], Source(file, 1, 1))
    except Stop:
        pass
    return None, False


def _decode(data: bytes, file: str, findings: Findings) -> str | None:
    if len(data) > MAX_BYTES:
        findings.error(
            "file-too-large",
            f"the file is larger than {MAX_BYTES // 1024**2} MiB",
            Source(file, 1, 1),
            hint="split it and list the parts under include",
        )
        return None
    data = data.removeprefix(b"\xef\xbb\xbf")
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        good = data[: error.start].decode()
        findings.error(
            "yaml-encoding", "this is not UTF-8", _place(good, len(good), file), hint="save the file as UTF-8"
        )
        return None
    bad = _UNPRINTABLE.search(text)
    if bad:
        findings.error(
            "yaml-encoding",
            f"a control character (U+{ord(bad[0]):04X})",
            _place(text, bad.start(), file),
            hint="remove it; in a text in double quotes it can be written as an escape",
        )
        return None
    return text


def _place(text: str, index: int, file: str) -> Source:
    before = BREAK.split(text[:index])
    return Source(file, len(before), len(before[-1]) + 1)
