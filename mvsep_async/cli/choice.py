"""How songs are separated: the algorithm, its options and the stems to keep, from what the command line says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final

from attrs import frozen
from cyclopts import Parameter

from mvsep_async.catalogue.algorithm import Algorithm
from mvsep_async.catalogue.catalogue import Catalogue
from mvsep_async.catalogue.presets import PRESETS, find_preset
from mvsep_async.catalogue.stems import check_stems
from mvsep_async.cli.complete import AlgorithmName, FormatName, PresetName
from mvsep_async.cli.config import CommandConfig
from mvsep_async.cli.exits import UsageProblem
from mvsep_async.jobs.request import JobSettings
from mvsep_async.models.output_format import OutputFormat

__all__ = ["SEPARATION", "Choice", "SeparationOptions", "choose", "parse_options"]

_DEFAULT: Final = "vocals"
"""The preset if no algorithm is given: the most common separation."""


@Parameter(name="*")
@frozen(kw_only=True)
class SeparationOptions:
    """How songs are separated."""

    algorithm: Annotated[AlgorithmName | None, Parameter(alias="-a", metavar="NAME")] = None
    """Name or number, see `mvsep-async algorithms`. The number is what the service calls sep_type."""
    preset: Annotated[PresetName | None, Parameter(metavar="NAME")] = None
    """A preset in place of an algorithm, such as vocals. `mvsep-async algorithms` lists them."""
    vocals: bool = False
    """Voice and accompaniment, the default. Short for --preset vocals."""
    karaoke: bool = False
    """Lead voice, backing voices and instruments. Short for --preset karaoke."""
    drums: bool = False
    """Drums, and the rest. Short for --preset drums."""
    opt: Annotated[tuple[str, ...], Parameter(alias="-p", metavar="NAME=VALUE")] = ()
    """An option of the algorithm; repeatable. NAME is its label or add_optN, VALUE one of its choices; `mvsep-async
    algorithms show` lists them."""
    format: Annotated[FormatName | None, Parameter(alias="-f", metavar="FORMAT")] = None
    """mp3 (the default), wav, flac, m4a, wav32 or flac24. wav is wav16, flac is flac16."""

    def output_format(self, config: CommandConfig) -> OutputFormat:
        """Return the format of the stems."""
        return OutputFormat.parse(self.format or config.format.value or "mp3")


SEPARATION: Final = SeparationOptions()


@frozen
class Choice:
    """An algorithm with its options. `stems`: those to keep; `default`: it was chosen because none was given."""

    algorithm: str | int
    options: dict[str, str]
    stems: tuple[str, ...] | None
    default: bool = False

    @property
    def label(self) -> str:
        """The algorithm as it was named."""
        name = str(self.algorithm)
        return f"algorithm {name}" if name.strip().isdecimal() else name

    def find(self, catalogue: Catalogue) -> Algorithm:
        """Return the algorithm, after a check of the options and the stems.

        Raises `InvalidRequestError` for what the catalogue does not have.
        """
        algorithm = catalogue.find(self.algorithm)
        catalogue.validate(algorithm, self.options)
        check_stems(algorithm, self.options, self.stems)
        return algorithm

    def note(self, algorithm: Algorithm) -> str:
        """Return what to say where no algorithm was given and this one is taken."""
        rated = "" if algorithm.rating is None else f", rated {algorithm.rating:.1f} of 5"
        others = "--karaoke, --drums, --preset or -a choose another, see `mvsep-async algorithms`"
        return f"no algorithm given: taking {algorithm.name}{rated}. {others}"

    def settings(self, catalogue: Catalogue, output_format: OutputFormat, *, demo: bool = False) -> JobSettings:
        """Return the settings that identify the result: a journal with a job of them has the same stems."""
        algorithm = self.find(catalogue)
        options = catalogue.validate(algorithm, self.options)
        return JobSettings(algorithm.sep_type, tuple(sorted(options.items())), output_format, demo=demo)


def choose(options: SeparationOptions, config: CommandConfig, stems: Sequence[str] = ()) -> Choice:
    """Return what to separate by; raises `UsageProblem` where two answers are given."""
    presets = [options.preset] if options.preset else []
    presets += [name for name in ("vocals", "karaoke", "drums") if getattr(options, name)]
    if len(presets) > 1 or (presets and options.algorithm):
        raise UsageProblem("give one of --algorithm, --preset, --vocals, --karaoke and --drums")
    own = parse_options(options.opt)
    kept = tuple(stems) or None
    configured = options.algorithm or config.algorithm.value
    if not presets and configured is not None:
        return Choice(configured, own, kept)
    preset = find_preset(presets[0]) if presets else PRESETS[_DEFAULT]
    return Choice(preset.algorithm, {**preset.options, **own}, kept or preset.stems, default=not presets)


def parse_options(given: Sequence[str]) -> dict[str, str]:
    """Read `NAME=VALUE` pairs; raises `UsageProblem` for anything else."""
    options: dict[str, str] = {}
    for pair in given:
        name, equals, value = pair.partition("=")
        if not equals or not name.strip():
            raise UsageProblem(f"an option has the form NAME=VALUE, such as --opt add_opt1=81; {pair!r} does not")
        if options.setdefault(name.strip(), value) != value:
            raise UsageProblem(f"the option {name.strip()!r} is given twice")
    return options
