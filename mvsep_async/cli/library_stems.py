"""The stems that libraries of the account have of a song: `separate` names them and does not pay for them again."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

from anyio import to_thread
from attrs import Factory, frozen

from mvsep_async.audio.digest import audio_length, read_content
from mvsep_async.catalogue.catalogue import Catalogue
from mvsep_async.cli.choice import Choice
from mvsep_async.cli.config import CommandConfig
from mvsep_async.cli.libraries import known_libraries
from mvsep_async.cli.terminal import terminal
from mvsep_async.errors import JournalError
from mvsep_async.library.manifest import Manifest
from mvsep_async.library.methods import resolve_methods
from mvsep_async.library.records import SeparatedSong
from mvsep_async.library.run import MANIFEST
from mvsep_async.models.output_format import OutputFormat
from mvsep_async.sources import is_url

__all__ = ["LibraryStems", "library_stems"]


@frozen
class LibraryStems:
    """The stems of libraries, by the length of their song's audio and then by its digest."""

    _songs: Mapping[int, Mapping[str, tuple[Path, ...]]] = Factory(dict)

    async def of(self, source: str) -> tuple[Path, ...]:
        """Return the stems of a song with the same audio, none if no library has them all.

        The song is read only if a library has one of the same length.
        """
        if not self._songs or is_url(source):
            return ()
        try:
            same_length = self._songs.get(await to_thread.run_sync(audio_length, source))
            stems = () if same_length is None else same_length.get((await read_content(source)).digest, ())
        except (OSError, ValueError):
            return ()  # `submit` reports what is wrong with a file
        return stems if await to_thread.run_sync(_all_exist, stems) else ()


async def library_stems(
    config: CommandConfig, catalogue: Catalogue, choice: Choice, output_format: OutputFormat
) -> LibraryStems:
    """Read which songs the account's libraries have separated in this way, with all stems that are wanted."""
    libraries = await to_thread.run_sync(known_libraries, config)
    if not libraries:
        return LibraryStems()
    (method,) = resolve_methods(
        choice.algorithm, catalogue, None, options=choice.options, output_format=output_format, stems=None
    )
    wanted = None if choice.stems is None else {stem.casefold() for stem in choice.stems}

    def read() -> LibraryStems:
        songs: defaultdict[int, dict[str, tuple[Path, ...]]] = defaultdict(dict)
        for target in (library.target for library in libraries):
            if not (target / MANIFEST).exists():
                continue  # removed since, or on a drive that is not there
            try:
                with closing(Manifest.open_read_only(target / MANIFEST)) as manifest:
                    for song in manifest.songs():
                        if song.method == method.digest and (stems := _stems(song, target, wanted)):
                            songs[song.audio_length][song.content] = stems
            except JournalError as error:
                terminal().note(str(error))
        return LibraryStems(songs)

    return await to_thread.run_sync(read)


def _stems(song: SeparatedSong, target: Path, wanted: set[str] | None) -> tuple[Path, ...]:
    """Return the wanted stems of a song, none unless the library keeps them all."""
    kept = next(iter(song.kept.values()), None)  # a method of a single step
    if kept is not None and (wanted is None or not wanted <= {stem.casefold() for stem in kept}):
        return ()
    return tuple(target / file.path for file in song.files if wanted is None or file.stem.casefold() in wanted)


def _all_exist(paths: tuple[Path, ...]) -> bool:
    return all(path.is_file() for path in paths)
