"""The command line, kept warm: a process that has imported it, and forks into each command that is asked for.

A command of the pages then takes a fifth of its time, and is a process of its own all the same, with its own folder,
environment, standard streams and exit code.

    python -m tests.docs.warm SOCKET    serves, until its standard input ends
"""

import json
import os
import socket
import sys
import traceback

__all__ = ["ask", "serve"]

_STREAMS = (0, 1, 2)


def ask(path: str, argv: list[str]) -> int:
    """Have a command run, and return its exit code."""
    asked = json.dumps({"argv": argv, "cwd": os.getcwd(), "environ": dict(os.environ)})  # noqa: PTH109 -- pathlib takes long to load
    with socket.socket(socket.AF_UNIX) as server, server.makefile("rb") as answer:
        server.connect(path)
        socket.send_fds(server, [b"!"], _STREAMS)
        server.sendall(asked.encode() + b"\n")
        return int(answer.readline())


def serve(path: str) -> None:
    """Run commands, one after the other, until standard input ends."""
    import select
    from importlib import import_module

    for module in ("run", "commands.library", "commands.recipe", "commands.separate"):
        import_module(f"mvsep_async.cli.{module}")
    import_module("mvsep_async.journal.sqlite")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        listening.listen()
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        while listening in select.select([listening, sys.stdin], [], [])[0]:
            asking, _ = listening.accept()
            with asking:
                _, streams, _, _ = socket.recv_fds(asking, 1, len(_STREAMS))
                asked = json.loads(asking.makefile("rb").readline())
                child = os.fork()
                if child == 0:
                    _become(asked, streams)
                for stream in streams:
                    os.close(stream)
                code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
                asking.sendall(b"%d\n" % code)


def _become(asked: dict[str, object], streams: list[int]) -> None:
    """Be that command; never returns."""
    code = 70
    try:
        for stream, as_seen in zip(streams, _STREAMS, strict=True):
            os.dup2(stream, as_seen)
        sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w")  # noqa: SIM115 -- as long as it lives
        os.chdir(str(asked["cwd"]))
        os.environ.clear()
        os.environ.update(asked["environ"])  # type: ignore[call-overload]
        from mvsep_async.cli import main
        from mvsep_async.testing import no_waiting

        with no_waiting():
            code = main(list(asked["argv"]))  # type: ignore[call-overload]
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    serve(sys.argv[1])
