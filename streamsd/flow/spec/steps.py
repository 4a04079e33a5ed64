"""The steps of a flow. Each has exactly one key, which says what it does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, model_validator

from streamsd.core.secret import Secret
from streamsd.core.units import Seconds, Size
from streamsd.flow.spec.words import Expression, FieldName, FieldType, Part

Key = Expression | tuple[Expression, ...] | dict[FieldName, Expression]


class Parse(Part):
    """Takes fields out of a text."""

    field: Expression
    """The text, such as `line`."""
    pattern: Annotated[str | None, Field(max_length=1000)] = None
    """The text with fields in braces: `{host} - [{at}] "{request}" {status:int}`. All else is literal."""
    regex: Annotated[str | None, Field(max_length=1000)] = None
    """A regular expression (RE2) with named groups: `(?P<host>\\S+) (?P<status>\\d+)`."""
    types: dict[FieldName, FieldType] = Field(default_factory=dict)
    """Types of the fields, where they are not texts: `{status: int}`."""

    @model_validator(mode="after")
    def _one(self) -> Parse:
        if (self.pattern is None) == (self.regex is None):
            raise ValueError("parse takes either pattern or regex")
        return self


class Table(Part):
    """A lookup table. It is read again, while the flow runs, whenever the file changes."""

    file: str
    """A CSV file with a header (.csv), JSON (.json: a list of rows, or a map from key to row), or a SQLite file (.db,
    .sqlite)."""
    query: Annotated[str | None, Field(max_length=4000)] = None
    """For SQLite: the rows, such as `select * from sites`."""


class Enrich(Part):
    """Adds fields of a table's row."""

    table: Table
    """Where the rows are."""
    on: Expression
    """What is looked up: an expression over the message, such as `device`."""
    key: FieldName
    """The table's column that it equals."""
    fields: dict[FieldName, FieldType]
    """Columns to add, each with its type: `{site: str, floor: int?}`."""
    missing: Literal["null", "drop", "dead_letter"] = "dead_letter"
    """What happens to a message that no row fits. `null` needs types that may be null."""


class Tumbling(Part):
    """Windows that follow each other."""

    size: Seconds
    """How long each is."""


class Sliding(Part):
    """Windows that overlap."""

    size: Seconds
    """How long each is; a multiple of `every`."""
    every: Seconds
    """How much later each begins than the one before."""


class Session(Part):
    """Windows that last as long as messages come."""

    gap: Seconds
    """The silence that ends one."""


class Window(Part):
    """Aggregates over time, by key. One of `tumbling`, `sliding`, `session`."""

    tumbling: Seconds | None = None
    """The size of windows that follow each other."""
    sliding: Sliding | None = None
    """Windows that overlap."""
    session: Session | None = None
    """Windows that end after a silence."""
    key: Key | None = None
    """What is grouped by: a field, several, or named expressions. None: one group of all."""
    time: Expression | None = None
    """The message's own time, such as `ts`. Without it a message counts when it arrives."""
    lateness: Seconds = Seconds(0)
    """How long a window stays open after its end, in event time, for messages that come late."""
    idle: Seconds | None = None
    """A source (or partition) that sends nothing for that long no longer holds windows open; when all are silent,
    the open windows are closed. Without it only messages move the time on."""
    max_ahead: Seconds = Seconds(86400)
    """A message whose time lies that far after the host's clock goes to the dead letters: one wrong clock would close
    every window of the others."""
    late: Literal["drop", "dead_letter"] = "drop"
    """Where a message goes that comes too late. It is counted in any case."""
    emit: Annotated[dict[FieldName, Expression], Field(min_length=1)]
    """The fields of each result: `{n: count(), mean: mean(temp_c), spread: max(temp_c) - min(temp_c)}`. The key's
    fields, `window_start` and `window_end` come with it."""

    @model_validator(mode="after")
    def _one(self) -> Window:
        if sum(shape is not None for shape in (self.tumbling, self.sliding, self.session)) != 1:
            raise ValueError("a window has one of tumbling, sliding, session")
        return self


class Join(Part):
    """Pairs the messages of two sources that have the same key and times close together."""

    left: FieldName
    """The one source's name."""
    right: FieldName
    """The other source's name."""
    on: Expression | tuple[Expression, ...]
    """What must be equal, over the fields of either side."""
    within: Seconds
    """How far apart the two times may be."""
    time: Expression | None = None
    """The message's own time, over the fields of either side. Without it a message counts when it arrives."""
    lateness: Seconds = Seconds(0)
    """How much longer a message is remembered for a partner that comes late."""
    idle: Seconds | None = None
    """A source that sends nothing for that long no longer holds the other back."""
    max_ahead: Seconds = Seconds(86400)
    """As for windows."""
    late: Literal["drop", "dead_letter"] = "drop"
    """Where a message goes that comes too late."""
    unmatched: Literal["drop", "left"] = "drop"
    """`left`: a message of the left source without a partner is sent on once none can come any more; `right` is
    null."""
    emit: Annotated[dict[FieldName, Expression], Field(min_length=1)]
    """The fields of each pair, over `left.x` and `right.x`."""


class Dedupe(Part):
    """Lets the first of equal messages through."""

    key: Expression | tuple[Expression, ...]
    """What makes two messages equal, such as `id`."""
    within: Seconds
    """How long one is remembered, by arrival."""
    max: Annotated[int, Field(ge=1, le=50_000_000)] = 1_000_000
    """How many are remembered; beyond, the oldest are forgotten first."""


class Throttle(Part):
    """Lets so many through a second, and drops (and counts) the others."""

    rate: Annotated[float, Field(gt=0)]
    """Messages a second."""
    burst: Annotated[int, Field(ge=1)] = 1
    """How many may come at once."""
    key: Expression | None = None
    """Each value has its own allowance, such as `device`."""


class Sample(Part):
    """Lets a part of the messages through. One of `every`, `fraction`."""

    every: Annotated[int | None, Field(ge=1)] = None
    """Each N-th."""
    fraction: Annotated[float | None, Field(gt=0, le=1)] = None
    """That part of the values of `key`: the same values everywhere and always."""
    key: Expression | None = None
    """What `fraction` chooses by, such as `device`."""

    @model_validator(mode="after")
    def _one(self) -> Sample:
        if (self.every is None) == (self.fraction is None) or (self.fraction is None) != (self.key is None):
            raise ValueError("sample takes every, or fraction with key")
        return self


class Flatten(Part):
    """Makes one message of each item of a list."""

    field: Expression
    """The list."""
    as_: Annotated[FieldName, Field(alias="as")]
    """The field that holds the item; the others are repeated."""


class Batch(Part):
    """Makes one message of several, in the order they came. It is sent on when the first of `count`, `size` and `time`
    is reached, and at the end of the input."""

    count: Annotated[int, Field(ge=1, le=100_000)] = 1000
    """How many messages at most."""
    size: Size | None = None
    """How large at most, as JSON: `64kB`. A single message may be larger."""
    time: Seconds | None = None
    """How long the first one waits at most."""
    as_: Annotated[FieldName, Field(alias="as")] = "items"
    """The field that holds them, a list of maps; the batch has no other."""


class Redact(Part):
    """Makes fields unreadable."""

    fields: Annotated[tuple[FieldName, ...], Field(min_length=1)]
    """Which."""
    with_: Annotated[Literal["mask", "hash"], Field(alias="with")] = "mask"
    """`mask`: `***`. `hash`: 32 hex digits, the same for the same value and key, so that it can still be counted."""
    key: Secret | None = None
    """The key of the hash: without it short values can be guessed. Needed for `hash`."""

    @model_validator(mode="after")
    def _keyed(self) -> Redact:
        if self.with_ == "hash" and self.key is None:
            raise ValueError("redact with hash needs a key")
        return self


class Custom(Part):
    """A function of your own, called with each batch: `def f(rows: list[dict]) -> list[dict]`."""

    file: str
    """A Python file."""
    function: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
    """The function's name in it."""
    schema_: Annotated[dict[FieldName, FieldType] | None, Field(alias="schema")] = None
    """The fields of what it returns, so that later steps are checked."""


class Step(Part):
    """One step: exactly one of these keys."""

    filter: Expression | None = None
    """Only messages for which the condition holds go on."""
    map: Annotated[dict[FieldName, Expression] | None, Field(min_length=1)] = None
    """A new message of these fields, each an expression over the old one."""
    set: Annotated[dict[FieldName, Expression] | None, Field(min_length=1)] = None
    """Adds or replaces fields, in order; a later one sees the earlier ones."""
    drop: Annotated[tuple[FieldName, ...] | None, Field(min_length=1)] = None
    """Takes fields away."""
    keep: Annotated[tuple[FieldName, ...] | None, Field(min_length=1)] = None
    """Takes all other fields away."""
    rename: Annotated[dict[FieldName, FieldName] | None, Field(min_length=1)] = None
    """Old names and their new ones."""
    convert: Annotated[dict[FieldName, FieldType] | None, Field(min_length=1)] = None
    """Fields and the types they are made: `{status: int}`."""
    parse: Parse | None = None
    """Takes fields out of a text."""
    enrich: Enrich | None = None
    """Adds fields of a lookup table."""
    flatten: Flatten | None = None
    """One message of each item of a list."""
    redact: Redact | None = None
    """Makes fields unreadable."""
    key: Key | None = None
    """The key of the windows that follow, where they name none."""
    dedupe: Dedupe | None = None
    """Lets the first of equal messages through."""
    throttle: Throttle | None = None
    """So many messages a second."""
    sample: Sample | None = None
    """A part of the messages."""
    window: Window | None = None
    """Aggregates over time, by key."""
    join: Join | None = None
    """Pairs the messages of two sources."""
    batch: Batch | None = None
    """One message of several."""
    custom: Custom | None = None
    """A Python function of your own."""

    @model_validator(mode="after")
    def _one(self) -> Step:
        if len(self.model_fields_set) != 1 or getattr(self, self.does) is None:
            raise ValueError(f"a step has exactly one of: {', '.join(type(self).model_fields)}")
        return self

    @property
    def does(self) -> str:
        """The step's key."""
        return next(iter(self.model_fields_set))


STATEFUL = ("window", "join", "dedupe", "batch")
"""Steps whose memory outlives a restart."""

SHAPED: Mapping[str, tuple[str, ...]] = {
    "window": ("tumbling", "sliding", "session", "key", "time", "emit"),
    "join": ("left", "right", "on", "within", "time", "emit"),
    "dedupe": ("key", "within"),
    "batch": ("as",),
}
"""What of them their state depends on: that cannot change unless the state is reset."""
