"""Columns of CSV and JSON files as values over time.

A CSV file has a row of names and then a row for each frame or time; the separator is a comma, a semicolon or a tab. A
JSON file is a list of numbers, a list of objects, or an object of lists, as `render.py values --format json` writes.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deforum.errors import UserError
from deforum.limits import JSON_DEPTH, TABLE_FILE, TABLE_ROWS
from deforum.paths import to_path
from deforum.settings.options import VariableUnit
from schedules import nearest
from schedules.quoting import cut, quote

INDEXES = ("frame", "time", "sec", "seconds", "t")
"""Names of columns that are taken for the frame or the time of a row."""


class TableError(UserError):
    """A table that is missing, cannot be read, or lacks a column."""


@dataclass(frozen=True, eq=False)
class Table:
    """Values of a column, ascending by frame or second."""

    at_values: NDArray[np.float64]
    values: NDArray[np.float64]
    in_seconds: bool
    holds: bool

    def at(self, frames: NDArray[np.int64], fps: float) -> NDArray[np.float64]:
        """Return the values at frames; before the first row and after the last one theirs."""
        where = frames / fps if self.in_seconds else np.asarray(frames, np.float64)
        if not self.holds:
            return np.interp(where, self.at_values, self.values)
        row = np.searchsorted(self.at_values, where + 1e-9, side="right") - 1
        found: NDArray[np.float64] = self.values[np.maximum(row, 0)]
        return found


def read_table(unit: VariableUnit) -> Table:
    """Read the column of a variable. Raises TableError, with file and line."""
    path = to_path(unit.file)
    try:
        with path.open("rb") as file:
            content = file.read(TABLE_FILE.most + 1)
    except OSError as error:
        raise TableError(f"{path}: cannot be read: {error.strerror}") from None
    if len(content) > TABLE_FILE.most:
        raise TableError(f"{path}: {TABLE_FILE.of} {TABLE_FILE.exceeded(max(len(content), path.stat().st_size))}")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise TableError(f"{path}: byte {error.start + 1} is not UTF-8 text; expected CSV or JSON") from None
    is_json = path.suffix.lower() == ".json" or text.lstrip()[:1] in ("{", "[")
    columns = (_json_columns if is_json else _csv_columns)(text, str(path))
    return _table(columns, unit, str(path))


Column = Sequence[tuple[str, Any]]
"""Places, such as "line 3", and values."""


def _table(columns: Mapping[str, Column], unit: VariableUnit, path: str) -> Table:
    index = unit.index or next((name for name in columns if name.strip().casefold() in INDEXES), "")
    others = [name for name in columns if name != index]
    name = unit.column or (unit.name if unit.name in columns else others[0] if len(others) == 1 else "")
    for wanted in filter(None, (name, index)):
        if wanted not in columns:
            meant = nearest(wanted, columns)
            hint = f"; did you mean {meant}?" if meant else ""
            raise TableError(f"{path}: there is no column {quote(wanted, 60)}; it has {_listed(columns)}{hint}")
    if not name:
        raise TableError(f"{path}: it has the columns {_listed(columns)}; say which, with column: NAME")
    values = np.array(list(_numbers(columns[name], name, path)))
    rows = _numbers(columns[index], index, path) if index else map(float, range(len(values)))
    where = np.array(list(rows))
    in_seconds = unit.by == "time" or (unit.by == "auto" and index.strip().casefold()[:3] in ("sec", "tim"))
    count = min(len(where), len(values))
    known = ~np.isnan(where[:count]) & ~np.isnan(values[:count])
    if not known.any():
        raise TableError(f"{path}: column {quote(name, 60)} has no number in it")
    where, values = where[:count][known], values[:count][known]
    order = np.argsort(where, kind="stable")
    return Table(where[order], values[order], in_seconds, unit.interpolation == "hold")


def _listed(columns: Mapping[str, Column]) -> str:
    return cut(", ".join(columns), 200) or "none"


def _numbers(column: Column, name: str, path: str) -> Iterator[float]:
    """Yield the numbers of a column; NaN for empty cells, which are interpolated over."""
    for place, value in column:
        if value is None or (isinstance(value, str) and not value.strip()):
            yield math.nan
            continue
        try:
            number = float(value)
        except (TypeError, ValueError, OverflowError):
            number = math.inf
        if math.isinf(number) or (math.isnan(number) and str(value).strip().casefold() not in ("nan", "na")):
            raise TableError(f"{path}, {place}: {quote(value, 40)} in column {quote(name, 60)} is no finite number")
        yield number


def _csv_columns(text: str, path: str) -> Mapping[str, Column]:
    first = text.split("\n", 1)[0]
    delimiter = max(",;\t", key=first.count)
    rows: list[tuple[int, list[str]]] = []
    reader = csv.reader(io.StringIO(text), delimiter=delimiter)
    try:
        for row in reader:
            if any(cell.strip() for cell in row):
                rows.append((reader.line_num, row))
            if len(rows) > TABLE_ROWS.most:
                raise TableError(f"{path}: {TABLE_ROWS.of} {TABLE_ROWS.exceeded(len(rows))}")
    except csv.Error as error:
        raise TableError(f"{path}, line {reader.line_num}: {error}") from None
    if not rows:
        raise TableError(f"{path}: is empty; expected a row of names and rows of numbers")
    names = [cell.strip() for cell in rows[0][1]]
    if all(_is_number(name) for name in names):
        names = [str(n) for n in range(1, len(names) + 1)]  # a table without names: its columns are counted
    else:
        rows = rows[1:]
    return {
        name: [(f"line {line}", row[n] if n < len(row) else "") for line, row in rows]
        for n, name in enumerate(names)
        if name
    }


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _json_columns(text: str, path: str) -> Mapping[str, Column]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise TableError(f"{path}: is no JSON: {error}") from None
    columns: dict[str, Column] = {}
    _collect(found, "", columns, 0)
    if not columns:
        raise TableError(f"{path}: expected a list of numbers, a list of objects, or an object of lists")
    if max(map(len, columns.values())) > TABLE_ROWS.most:
        raise TableError(f"{path}: {TABLE_ROWS.of} {TABLE_ROWS.exceeded(max(map(len, columns.values())))}")
    return columns


def _collect(value: Any, name: str, columns: dict[str, Column], depth: int) -> None:
    """Add the lists within a JSON value as columns; those of nested objects are called outer.inner."""
    if depth > JSON_DEPTH.most:
        return
    if isinstance(value, dict):
        for key, inner in value.items():
            _collect(inner, f"{name}.{key}" if name else str(key), columns, depth + 1)
    elif isinstance(value, list) and value and all(isinstance(each, dict) for each in value):
        keys = dict.fromkeys(str(key) for each in value for key in each)
        for key in keys:
            cells = [(f"entry {n}", each.get(key)) for n, each in enumerate(value)]
            columns[f"{name}.{key}" if name else key] = cells
    elif isinstance(value, list):
        columns[name or "1"] = [(f"entry {n}", each) for n, each in enumerate(value)]
