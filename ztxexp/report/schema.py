"""What the page of a report is given: JSON with these keys, columns rather than rows.

Written by :mod:`ztxexp.report.payload`, read by the scripts in ``web/``. A key that is missing, or
a number that is not finite, is ``null``. An index of a run is its place in the columns of ``runs``.
"""

from __future__ import annotations

from typing import Any, Literal, TypedDict

Cells = list[Any]
ColumnType = Literal["number", "boolean", "text"]
Part = Literal["config", "metrics", "run"]


class Column(TypedDict):
    """One column of the run table.

    ``key`` is dotted for nested values; ``varies`` says whether runs differ in it; ``seed`` whether
    means are taken over it; ``mode`` is what is the best of a metric, ``source`` who says so.
    """

    key: str
    part: Part
    type: ColumnType
    varies: bool
    seed: bool
    mode: Literal["max", "min"] | None
    source: str | None
    values: Cells


class Runs(TypedDict):
    """The runs, a cell for each in every list."""

    id: list[str]  # short id, as in `ztxexp list`
    name: list[str]  # name of the folder
    status: list[str]  # succeeded, failed, running, skipped
    started: list[float | None]  # seconds since 1970
    seconds: list[float | None]
    attempt: list[int | None]
    code: list[str | None]  # v1, v2, ... by first use
    function: list[str | None]
    group: list[str | None]
    tags: list[list[str]]  # "key=value" or "word"
    error: list[str | None]  # of failed runs: type and message, one line
    columns: list[Column]  # configuration, then metrics


class Series(TypedDict):
    """One curve of one run; ``of`` is how many points it had before it was thinned."""

    run: int
    metric: str  # as `ztxexp curves` names it: loss, valid/loss
    x: list[float]
    y: list[float | None]
    of: int


class Curves(TypedDict):
    """Curves, thinned to the smallest and largest point of each stretch where they are long."""

    series: list[Series]
    most: int  # points that a curve has at most after thinning
    thinned: int  # how many curves were thinned
    left_out: int  # further runs whose curves are not in the file


class Level(TypedDict):
    """A value of a key: the mean over all else, seeds averaged first, and its 95 % interval."""

    value: Any
    mean: float
    low: float | None
    high: float | None
    n: int  # settings, not runs


class Effect(TypedDict):
    """The main effect of a key on a metric.

    ``interacts`` names keys that change it, with why; ``notes`` are sentences on what limits the
    comparison.
    """

    metric: str
    key: str
    levels: list[Level]
    range: float  # largest mean minus smallest
    interacts: list[str]
    notes: list[str]


class Best(TypedDict):
    """A configuration over its seeds, the best first."""

    metric: str
    values: dict[str, Any]
    mean: float
    std: float | None
    n: int
    seeds: Cells
    runs: list[int]


class Failure(TypedDict):
    """Failures of one kind."""

    type: str
    place: str
    message: str
    reason: str
    only_when: str
    runs: list[int]
    log: str  # the last lines of the first one's error.log


class Launch(TypedDict):
    """One call of ``ztxexp run``, or of a pipeline's ``run``."""

    id: str
    started: float | None  # seconds since 1970
    ended: float | None
    alive: bool
    state: str  # alive, ended, died
    function: str
    total: int
    reused: int
    workers: int
    counts: dict[str, int]  # by status, once it has ended
    stopped_because: str | None
    command: str


class Payload(TypedDict):
    """The whole page."""

    version: Literal[1]
    ztxexp: str
    made: float  # seconds since 1970
    title: str  # name of the root's folder
    root: str  # as it is given to -C in commands
    live: bool  # whether it comes from `ztxexp ui`
    state: int  # of a live page: number of the last change
    anonymous: list[str] | None  # what --anonymous took out, a line each; None: nothing
    runs: Runs
    curves: Curves
    effects: list[Effect]
    best: list[Best]
    failures: list[Failure]
    provenance: list[tuple[str, str]]  # label and text, a line each
    launches: list[Launch]
    notes: list[str]  # what a reader must know: mixed code, missing seeds
    default_metric: str | None


class Delta(TypedDict, total=False):
    """What has changed on a live page: an event ``delta`` of ``/api/events``.

    A run is known by its ``name``; one that the page does not have is new. A key that is missing
    has not changed. ``run`` in ``curves`` is a place in ``runs`` of this delta; new runs come after
    those that are there, so an index elsewhere is one of the whole page. Where a column comes or
    goes, varies or no longer does, a run has gone, or a new one comes before others, there is an
    event ``reload`` instead: ``/api/data`` is to be read anew.
    """

    state: int
    runs: Runs
    curves: list[Series]
    failures: list[Failure]
    best: list[Best]
    effects: list[Effect]
    launches: list[Launch]
    notes: list[str]
