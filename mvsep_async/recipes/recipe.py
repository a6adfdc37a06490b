"""Recipes as values: steps with an algorithm, an input stem and the stems to keep."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from attrs import field, frozen

from mvsep_async.errors import InvalidRequestError
from mvsep_async.models.output_format import OutputFormat

__all__ = ["Input", "Recipe", "RecipeError", "Step"]

_NAME: Final = re.compile(r"[\w-]+(?: [\w-]+)*")


class RecipeError(InvalidRequestError):
    """An invalid recipe. `step` counts from 0, `None` for the recipe as a whole.

    `aspect`: the part of the step, such as `"algorithm"`; empty for the step or the recipe as a whole.
    """

    def __init__(
        self,
        message: str,
        *,
        step: int | None = None,
        aspect: str = "",
        fields: Mapping[str, Sequence[str]] | None = None,
        candidates: Sequence[str] = (),
    ) -> None:
        super().__init__(message, fields=fields, candidates=candidates)
        self.step = step
        self.aspect = aspect


@frozen
class Input:
    """A stem of an earlier step."""

    step: str
    stem: str

    @classmethod
    def parse(cls, text: str) -> Input:
        """Read `step.stem`, such as `vocals.Lead vocals`."""
        step, dot, stem = text.partition(".")
        if not dot or not step.strip() or not stem.strip():
            raise InvalidRequestError(f"an input is 'step.stem', such as 'vocals.Vocals', not {text[:80]!r}")
        return cls(step.strip(), stem.strip())

    def __str__(self) -> str:
        return f"{self.step}.{self.stem}"


def _as_input(value: Input | str | None) -> Input | None:
    return Input.parse(value) if isinstance(value, str) else value


def _as_options(value: Mapping[str, object]) -> Mapping[str, str]:
    return MappingProxyType({str(name): str(setting) for name, setting in value.items()})


def _as_stems(value: Sequence[str] | None) -> tuple[str, ...] | None:
    return (value,) if isinstance(value, str) else None if value is None else tuple(value)


@frozen(kw_only=True)
class Step:
    """One separation of a chain.

    - `name`: unique in the recipe; letters, digits, `-`, `_` and single spaces. Folders are named after it.
    - `algorithm`: a `sep_type` number or a name. `options`: as `submit` takes them.
    - `input`: `"step.stem"` of an earlier step; `None` is the song itself.
    - `keep`: the stems that are wanted as files; `None` for all, `()` for none.
    - `output_format`: of all its stems, those that feed others too.
    """

    name: str
    algorithm: int | str
    options: Mapping[str, str] = field(factory=dict, converter=_as_options)
    input: Input | None = field(default=None, converter=_as_input)
    keep: tuple[str, ...] | None = field(default=None, converter=_as_stems)
    output_format: OutputFormat = OutputFormat.MP3

    @property
    def keeps(self) -> bool:
        """Whether any of its stems is wanted as a file."""
        return self.keep is None or bool(self.keep)


def _as_steps(value: Iterable[Step]) -> tuple[Step, ...]:
    return tuple(value)


@frozen(kw_only=True)
class Recipe:
    """A chain, or a tree, of separations. Raises `RecipeError` for an invalid one."""

    name: str
    steps: tuple[Step, ...] = field(converter=_as_steps)
    about: str = ""

    def __attrs_post_init__(self) -> None:
        if not self.steps:
            raise RecipeError(f"the recipe {self.name!r} has no steps")
        seen: dict[str, str] = {}
        for index, step in enumerate(self.steps):
            if not _NAME.fullmatch(step.name):
                raise RecipeError(
                    f"a step's name has letters, digits, '-', '_' and single spaces only, not {step.name[:60]!r}",
                    step=index,
                    aspect="name",
                )
            if step.input is not None and step.input.step not in seen.values():
                later = any(other.name == step.input.step for other in self.steps[index:])
                why = "comes later, or is this step" if later else "does not exist"
                raise RecipeError(
                    f"its input is a stem of step {step.input.step!r}, which {why}; earlier steps: "
                    f"{', '.join(seen.values()) or 'none'}",
                    step=index,
                    aspect="input",
                    candidates=tuple(seen.values()),
                )
            if step.name.casefold() in seen:
                raise RecipeError(f"two steps are called {step.name!r}", step=index, aspect="name")
            seen[step.name.casefold()] = step.name
        if not any(step.keeps for step in self.steps):
            raise RecipeError(f"the recipe {self.name!r} keeps no stem of any step", aspect="keep")

    def step(self, name: str) -> Step:
        """Return the step of this name."""
        return next(step for step in self.steps if step.name == name)

    @property
    def keeping(self) -> tuple[Step, ...]:
        """The steps of which files are wanted."""
        return tuple(step for step in self.steps if step.keeps)
