"""The stems that libraries of the account have of a song: `separate` names them and does not pay for them again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from anyio import to_thread
from attrs import frozen

from mvsep_async.audio.digest import audio_length, content_of
from mvsep_async.catalogue.catalogue import Catalogue
from mvsep_async.cli.choice import Choice
from mvsep_async.cli.config import CommandConfig
from mvsep_async.cli.libraries import known_libraries
from mvsep_async.errors import JournalError
from mvsep_async.library.manifest import Manifest
from mvsep_async.library.methods import resolve_methods
from mvsep_async.library.records import SeparatedSong
from mvsep_async.library.run import MANIFEST
from mvsep_async.models.output_format import OutputFormat
from mvsep_async.sources import is_url

__all__ = ["Found", "LibraryStems", "library_stems"]


@frozen
class Found:
    """What libraries have of a song. `paths`: all the wanted stems, none if a library lacks one of them.

    `hash`, `host`: the job at the service that made the song's stems, where `paths` are none.
    """

    paths: tuple[Path, ...] = ()
    hash: str | None = None
    host: str | None = None


@frozen
class LibraryStems:
    """Finds stems in libraries. `method`: the digest of how they were made; `wanted`: the stems, `None` for all."""

    libraries: Sequence[Path] = ()
    method: str = ""
    wanted: frozenset[str] | None = None

    async def find(self, source: str) -> Found:
        """Return what the libraries have of a song with the same audio.

        The song is read only if a library has one of the same length. Raises `JournalError` if a library cannot be
        read: it may have the stems, and they would be paid again.
        """
        if not self.libraries or is_url(source):
            return Found()
        return await to_thread.run_sync(self._find, source)

    def _find(self, source: str) -> Found:
        job = Found()
        try:
            length, content = audio_length(source), None
            for library in self.libraries:
                with _manifest(library) as manifest:
                    if not manifest.knows_length(length):
                        continue
                    content = content or content_of(source)
                    for song in manifest.songs_with(content.digest, self.method):
                        paths = [library / name for name in self._names(song)]
                        if paths and all(_exists(path) for path in paths):
                            return Found(tuple(paths))
                        made = next((file for file in song.files if file.hash is not None), None)
                        job = job if made is None else Found((), made.hash, made.host)
        except (OSError, ValueError):
            pass  # `submit` reports what is wrong with a file
        return job

    def _names(self, song: SeparatedSong) -> list[str]:
        """Return the paths of a song's wanted stems below the library, none unless the library keeps them all."""
        kept = next(iter(song.kept.values()), None)  # a method of a single step
        if kept is not None and (self.wanted is None or not self.wanted <= {stem.casefold() for stem in kept}):
            return []
        return [file.path for file in song.files if self.wanted is None or file.stem.casefold() in self.wanted]


async def library_stems(
    config: CommandConfig, catalogue: Catalogue, choice: Choice, output_format: OutputFormat
) -> LibraryStems:
    """Return a finder of the stems that the account's libraries have by this algorithm, options and format.

    Raises `JournalError` if a library cannot be read.
    """
    libraries = await to_thread.run_sync(_existing, config)
    if not libraries:
        return LibraryStems()
    (method,) = resolve_methods(
        choice.algorithm, catalogue, None, options=choice.options, output_format=output_format, stems=None
    )
    wanted = None if choice.stems is None else frozenset(stem.casefold() for stem in choice.stems)
    return LibraryStems(libraries, method.digest, wanted)


def _existing(config: CommandConfig) -> list[Path]:
    """Return the libraries with a manifest; one may be removed, or on a drive that is not there."""
    found = [library.target for library in known_libraries(config) if _exists(library.target / MANIFEST)]
    for target in found:
        with _manifest(target):
            pass
    return found


@contextmanager
def _manifest(library: Path) -> Iterator[Manifest]:
    path = library / MANIFEST
    if not _exists(path):  # it was there when the run began
        raise JournalError(f"the manifest {path} has disappeared. The song was not sent: a library may have its stems")
    with closing(Manifest.open_read_only(path)) as manifest:
        yield manifest


def _exists(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError as error:
        raise JournalError(
            f"{path} cannot be read: {error.strerror or error}. The song was not sent: a library may have its stems; "
            "--force sends it all the same"
        ) from error
