"""What a suite is: several evaluations of one policy, each of which changes one thing. Loads no torch and no simulator."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from vla3d.errors import ConfigError, unknown_name
from vla3d.evaluation.config import CONTROLS


@dataclass(frozen=True, kw_only=True)
class SuiteRow:
    """One line of a suite's table.

    Attributes:
        name: unique in the suite; also the folder of its episodes.
        group: the level or kind it belongs to; reports draw groups together.
        factors: what differs from training scenes. Tasks to which none of them applies are left out.
        tasks: tasks of this row; none takes the suite's.
        control: see ``CONTROLS``.
    """

    name: str
    group: str = ""
    factors: Sequence[str] = ()
    tasks: Sequence[str] = ()
    control: str = "none"

    def __post_init__(self) -> None:
        for key in ("factors", "tasks"):
            object.__setattr__(self, key, tuple(getattr(self, key)))
        if not self.name or not self.name.replace("_", "").replace("-", "").isalnum():
            raise ConfigError(f"suite.rows: got the name {self.name!r}, expected letters, digits, - and _.")
        if self.control not in CONTROLS:
            raise unknown_name(f"control of suite row {self.name}", self.control, CONTROLS)


@dataclass(frozen=True, kw_only=True)
class Suite:
    """A named list of rows; the first is the one that others are compared with."""

    name: str
    rows: Sequence[SuiteRow]

    def __post_init__(self) -> None:
        object.__setattr__(self, "rows", tuple(self.rows))
        if not self.rows:
            raise ConfigError(f"suite {self.name}: got no rows, expected at least one.")
        names = [row.name for row in self.rows]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ConfigError(f"suite {self.name}: got the rows {', '.join(twice)} more than once; give each its own name.")

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> "Suite":
        """A suite of composed values: ``name``, ``rows``, and ``only`` (names of rows or groups; none means all).

        Raises:
            ConfigError: unknown keys, rows or groups.
        """
        known = [field.name for field in fields(SuiteRow)]
        rows = []
        for value in values["rows"]:
            if not isinstance(value, Mapping) or "name" not in value:
                raise ConfigError(
                    f"suite.rows: got {value!r}, expected a row like {{name: light_color, factors: [light_color]}}."
                )
            for key in value:
                if key not in known:
                    raise unknown_name("key of a suite's row", key, known)
            rows.append(SuiteRow(**value))
        suite = cls(name=str(values["name"]), rows=rows)
        only = values.get("only") or []
        return suite if not only else suite.reduced([only] if isinstance(only, str) else only)

    def reduced(self, only: Sequence[str]) -> "Suite":
        """The suite with some of its rows.

        Args:
            only: names of rows, or of groups for all rows of them.

        Raises:
            ConfigError: when there is no such row or group.
        """
        names = list(dict.fromkeys([*(row.name for row in self.rows), *(row.group for row in self.rows if row.group)]))
        for name in only:
            if name not in names:
                raise unknown_name(f"row or level of suite {self.name}", name, names)
        return Suite(name=self.name, rows=[row for row in self.rows if row.name in only or row.group in only])
