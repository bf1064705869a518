"""What all sections of params.yaml have in common: strict types, ranges, and a meaning for every key."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from harness.config.messages import BrokenRule

MOST_CLIPS = 1_000_000_000  # and batches and steps of them
MOST_SEED = 2**32 - 1  # what every library takes
LONGEST = 4096  # characters of a text
UNPRINTABLE = {"Cc", "Cs", "Zl", "Zp"}  # Unicode's categories of control characters, half characters and line ends

T = TypeVar("T")


def key(meaning: str, default: Any = ..., least: float | None = None, most: float | None = None) -> Any:
    """A key with its meaning, its value where it is left out (`...`: it must be given) and its bounds, inclusive."""
    return Field(default, ge=least, le=most, description=meaning)


def must(words: str, holds: Callable[[Any], object]) -> AfterValidator:
    """A rule for one value, in the words that follow `must` in the message."""

    def check(value: T) -> T:
        if not holds(value):
            raise BrokenRule(words)
        return value

    return AfterValidator(check)


def _is_line(text: str) -> bool:
    odd = {unicodedata.category(character) for character in text} & UNPRINTABLE
    return bool(text.strip()) and len(text) <= LONGEST and not odd


Share = Annotated[float, Field(ge=0.0, le=1.0)]
Rate = Annotated[float, Field(ge=0.0, le=10.0)]
Count = Annotated[int, Field(ge=1, le=MOST_CLIPS)]
Depth = Annotated[int, Field(ge=1, le=100)]
Width = Annotated[int, Field(ge=8, le=8192)]
Seed = Annotated[int, Field(ge=0, le=MOST_SEED)]
Odd = Annotated[int, must("be odd", lambda number: number % 2)]
Text = Annotated[str, must(f"be one line of 1 to {LONGEST} characters", _is_line)]
AS_TUPLE = BeforeValidator(lambda value: tuple(value) if isinstance(value, list) else value)
Several = Annotated[tuple[T, ...], Field(min_length=1), AS_TUPLE]
DISTINCT = must("not name one twice", lambda values: len(set(values)) == len(values))


class Section(BaseModel):
    """What all sections have in common: no value is converted, no key is unknown, nothing can be changed."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    def misfits(self) -> Iterator[str]:
        """Which values do not go together, each as `KEY: is VALUE, must ...`."""
        yield from ()

    @model_validator(mode="after")
    def _fits(self) -> Section:
        for misfit in self.misfits():
            raise ValueError(misfit)
        return self
