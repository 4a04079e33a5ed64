"""Reading NUT as it arrives, a piece at a time."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

from streamsd.programs.relay import nut
from streamsd.programs.relay.nut import Frame, NutFault, StreamClass, StreamHeader

_STARTCODES = frozenset({nut.MAIN, nut.STREAM, nut.SYNCPOINT, nut.INDEX, nut.INFO})
_MAX_ITEM = 64 * 1024 * 1024


class _More(Exception):
    """The item that begins here is not whole yet."""


@dataclass(frozen=True, slots=True)
class _Code:
    """One row of the frame code table: what a frame's first byte says."""

    flags: int
    pts_delta: int
    stream: int
    size_mul: int
    size_lsb: int
    reserved: int
    header: int


@dataclass(slots=True)
class _Clock:
    """What a stream's coded times are relative to."""

    header: StreamHeader
    shift: int
    last_pts: int = 0


@dataclass(slots=True)
class NutReader:
    """Feed it bytes, get frames. `streams` is complete once the first frame came, or `ready` says so.

    It reads what ffmpeg's muxer writes, with sync points or without; indexes and repeated headers are passed over.
    """

    ready: bool = False
    streams: list[StreamHeader] = field(default_factory=list)
    _buffer: bytearray = field(default_factory=bytearray)
    _need: int = 0
    _begun: bool = False
    _bases: list[tuple[int, int]] = field(default_factory=list)
    _codes: list[_Code] = field(default_factory=list)
    _elided: list[bytes] = field(default_factory=lambda: [b""])
    _clocks: dict[int, _Clock] = field(default_factory=dict)
    _count: int = 0

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that `data` completes. NutFault when it is not NUT."""
        buffer = self._buffer
        buffer += data
        frames: list[Frame] = []
        if len(buffer) < self._need:
            return frames
        self._need = 0
        at = 0
        try:
            while at < len(buffer):
                at = self._item(buffer, at, frames)
        except (_More, IndexError):
            pass  # the rest of the item comes with a later feed
        if at:
            del buffer[:at]
            if self._need:
                self._need -= at
        elif len(buffer) > _MAX_ITEM:
            raise NutFault("an item of more than 64 MiB")
        return frames

    def _item(self, buffer: bytearray, at: int, frames: list[Frame]) -> int:
        """Read what begins at `at` and return where the next begins."""
        if not self._begun:
            return self._begin(buffer, at)
        if buffer[at] == 0x4E:  # 'N': the first byte of a startcode, never of a frame
            return self._packet(buffer, at)
        return self._frame(buffer, at, frames)

    def _wait_for(self, end: int, buffer: bytearray) -> None:
        if end > len(buffer):
            self._need = end
            raise _More

    def _packet(self, buffer: bytearray, at: int) -> int:
        self._wait_for(at + 8, buffer)
        startcode = bytes(buffer[at : at + 8])
        if startcode not in _STARTCODES:
            raise NutFault(f"unknown startcode {startcode.hex()}")
        length, body = _varint(buffer, at + 8)
        if length < 4 or length > _MAX_ITEM:
            raise NutFault(f"a header of {length} bytes")
        if length > 4096:
            body += 4
        end = body + length
        self._wait_for(end, buffer)
        content = bytes(buffer[body : end - 4])
        if nut.checksum(content) != bytes(buffer[end - 4 : end]):
            raise NutFault("a header's checksum is wrong")
        try:
            self._header(startcode, content)
        except IndexError:
            raise NutFault("a header is cut short") from None
        return end

    def _header(self, startcode: bytes, body: bytes) -> None:
        if startcode == nut.MAIN:
            if not self._codes:
                self._main(body)
        elif startcode == nut.STREAM:
            if len(self._clocks) < self._count:
                self._stream(body)
        elif startcode == nut.INFO:
            self._info(body)
        elif startcode == nut.SYNCPOINT:
            self._syncpoint(body)

    def _main(self, body: bytes) -> None:
        version, at = _varint(body, 0)
        if version not in (3, 4):
            raise NutFault(f"NUT version {version}")
        if version > 3:
            _, at = _varint(body, at)
        self._count, at = _varint(body, at)
        _, at = _varint(body, at)
        bases, at = _varint(body, at)
        for _ in range(bases):
            num, at = _varint(body, at)
            den, at = _varint(body, at)
            self._bases.append((num, den))
        at = self._frame_codes(body, at)
        if at < len(body):
            count, at = _varint(body, at)
            for _ in range(count):
                length, at = _varint(body, at)
                self._elided.append(body[at : at + length])
                at += length

    def _frame_codes(self, body: bytes, at: int) -> int:
        pts, mul, stream, header = 0, 1, 0, 0
        invalid = _Code(nut.FLAG_INVALID, 0, 0, 1, 0, 0, 0)
        codes: list[_Code] = []
        while len(codes) < 256:
            flags, at = _varint(body, at)
            fields, at = _varint(body, at)
            size = reserved = 0
            count = -1
            if fields > 0:
                pts, at = _signed(body, at)
            if fields > 1:
                mul, at = _varint(body, at)
            if fields > 2:
                stream, at = _varint(body, at)
            if fields > 3:
                size, at = _varint(body, at)
            if fields > 4:
                reserved, at = _varint(body, at)
            if fields > 5:
                count, at = _varint(body, at)
            if fields > 6:
                _, at = _signed(body, at)
            if fields > 7:
                header, at = _varint(body, at)
            for _ in range(8, fields):
                _, at = _varint(body, at)
            for step in range(mul - size if count < 0 else count):
                if len(codes) == 0x4E:
                    codes.append(invalid)
                codes.append(_Code(flags, pts, stream, mul, size + step, reserved, header))
        if len(codes) != 256:
            raise NutFault("the frame code table has not 256 rows")
        self._codes = codes
        return at

    def _stream(self, body: bytes) -> None:
        number, at = _varint(body, 0)
        kind, at = _varint(body, at)
        if kind not in (StreamClass.VIDEO, StreamClass.AUDIO):
            raise NutFault(f"a stream of class {kind}: only video and audio are relayed")
        fourcc, at = _text(body, at)
        base, at = _varint(body, at)
        shift, at = _varint(body, at)
        _, at = _varint(body, at)
        delay, at = _varint(body, at)
        _, at = _varint(body, at)
        extradata, at = _text(body, at)
        num, den = self._bases[base]
        common = math.gcd(num, den)
        header = StreamHeader(StreamClass(kind), fourcc, num // common, den // common, delay, extradata)
        if header.kind is StreamClass.VIDEO:
            width, at = _varint(body, at)
            height, at = _varint(body, at)
            sar_num, at = _varint(body, at)
            sar_den, at = _varint(body, at)
            header = replace(header, width=width, height=height, aspect=(sar_num, sar_den))
        else:
            rate_num, at = _varint(body, at)
            rate_den, at = _varint(body, at)
            channels, at = _varint(body, at)
            header = replace(header, rate=rate_num // max(rate_den, 1), channels=channels)
        self._clocks[number] = _Clock(header, shift)
        if len(self._clocks) == self._count:
            if sorted(self._clocks) != list(range(self._count)):
                raise NutFault("streams are not numbered from 0")
            self.streams = [self._clocks[n].header for n in range(self._count)]

    def _info(self, body: bytes) -> None:
        """Only the frame rate of a stream matters to us; readers choose better timing when they know it."""
        stream, at = _varint(body, 0)
        _, at = _signed(body, at)
        _, at = _varint(body, at)
        _, at = _varint(body, at)
        count, at = _varint(body, at)
        for _ in range(count):
            name, at = _text(body, at)
            value, at = _value(body, at)
            if name == b"r_frame_rate" and value and 0 < stream <= len(self.streams):
                rated = replace(self.streams[stream - 1], frame_rate=value.decode("ascii", "replace"))
                self.streams[stream - 1] = rated

    def _syncpoint(self, body: bytes) -> None:
        if len(self._clocks) < self._count or not self._count:
            raise NutFault("frames before the headers")
        coded, _ = _varint(body, 0)
        num, den = self._bases[coded % len(self._bases)]
        time = coded // len(self._bases)
        for clock in self._clocks.values():
            clock.last_pts = time * num * clock.header.den // (den * clock.header.num)
        self.ready = True

    def _frame(self, buffer: bytearray, at: int, frames: list[Frame]) -> int:
        if not self.ready:
            raise NutFault("frames before the headers")
        code = self._codes[buffer[at]]
        at += 1
        flags, size, number, header = code.flags, code.size_lsb, code.stream, code.header
        if flags & nut.FLAG_INVALID:
            raise NutFault("an invalid frame code")
        if flags & nut.FLAG_CODED:
            changed, at = _varint(buffer, at)
            flags ^= changed
        if flags & nut.FLAG_STREAM_ID:
            number, at = _varint(buffer, at)
        clock = self._clocks.get(number)
        if clock is None:
            raise NutFault(f"a frame of stream {number}, which has no header")
        if flags & nut.FLAG_CODED_PTS:
            pts, at = _varint(buffer, at)
            if pts < 1 << clock.shift:
                mask = (1 << clock.shift) - 1
                near = clock.last_pts - mask // 2
                pts = ((pts - near) & mask) + near
            else:
                pts -= 1 << clock.shift
        else:
            pts = clock.last_pts + code.pts_delta
        if flags & nut.FLAG_SIZE_MSB:
            high, at = _varint(buffer, at)
            size += code.size_mul * high
        if flags & nut.FLAG_MATCH_TIME:
            _, at = _signed(buffer, at)
        if flags & nut.FLAG_HEADER_IDX:
            header, at = _varint(buffer, at)
        reserved = code.reserved
        if flags & nut.FLAG_RESERVED:
            reserved, at = _varint(buffer, at)
        for _ in range(reserved):
            _, at = _varint(buffer, at)
        if flags & nut.FLAG_CHECKSUM:
            at += 4
        elided = self._elided[header] if size <= 4096 else b""
        end = at + size - len(elided)
        if size > _MAX_ITEM or end < at:
            raise NutFault(f"a frame of {size} bytes")
        self._wait_for(end, buffer)
        if flags & nut.FLAG_SM_DATA:
            at = _skip_side_data(buffer, _skip_side_data(buffer, at))
        clock.last_pts = pts
        payload = bytes(buffer[at:end])
        frames.append(Frame(number, pts, bool(flags & nut.FLAG_KEY), elided + payload if elided else payload))
        return end

    def _begin(self, buffer: bytearray, at: int) -> int:
        end = at + len(nut.ID_STRING)
        if not nut.ID_STRING.startswith(bytes(buffer[at:end])):
            raise NutFault("not NUT")
        self._wait_for(end, buffer)
        self._begun = True
        return end


def _varint(data: bytes | bytearray, at: int) -> tuple[int, int]:
    byte = data[at]
    at += 1
    if byte < 0x80:
        return byte, at
    value = byte & 0x7F
    while byte & 0x80:
        byte = data[at]
        at += 1
        value = value << 7 | byte & 0x7F
    return value, at


def _signed(data: bytes | bytearray, at: int) -> tuple[int, int]:
    value, at = _varint(data, at)
    value += 1
    return (-(value >> 1) if value & 1 else value >> 1), at


def _text(data: bytes | bytearray, at: int) -> tuple[bytes, int]:
    length, at = _varint(data, at)
    if at + length > len(data):
        raise IndexError
    return bytes(data[at : at + length]), at + length


def _value(data: bytes | bytearray, at: int) -> tuple[bytes, int]:
    """One typed value of an info packet: the text, or empty where it is none."""
    kind, at = _signed(data, at)
    if kind == -1:
        return _text(data, at)
    if kind == -2:
        _, at = _text(data, at)
        _, at = _text(data, at)
    elif kind == -4:
        _, at = _varint(data, at)
    elif kind < 0:
        _, at = _signed(data, at)
    return b"", at


def _skip_side_data(data: bytearray, at: int) -> int:
    count, at = _varint(data, at)
    for _ in range(count):
        _, at = _text(data, at)
        _, at = _value(data, at)
    return at
