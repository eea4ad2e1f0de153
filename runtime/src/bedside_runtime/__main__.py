"""``python -m bedside_runtime``: what a release's own environment is asked to do.

Results go to stdout, one JSON value; errors to stderr. The process ends with the error's exit code.
"""

import argparse
import json
import os
import resource
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import msgspec

from bedside_runtime import adapters, bytecode, environment, loading, proving
from bedside_runtime.adapters import engines
from bedside_runtime.audit import reading
from bedside_runtime.audit.verify import EXIT_CODES
from bedside_runtime.contract import ConversionRequest, DownloadRequest, InspectionRequest
from bedside_runtime.errors import BedsideRuntimeError, ContractInvalid, LibraryMissing
from bedside_runtime.fetching import artifact
from bedside_runtime.inputs import compile_inputs
from bedside_runtime.serve import confinement, replaying, server, workers
from bedside_runtime.serve.auth.guard import Guard
from bedside_runtime.serve.entrance import Address, Listening
from bedside_runtime.serve.handover import Handed
from bedside_runtime.serve.logs import EventLog
from bedside_runtime.serve.tracing import starting
from bedside_runtime.signature import Verifies

Action: TypeAlias = Callable[[argparse.Namespace], None]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand and return the exit code: the only place that catches the family of errors."""
    arguments = _parser().parse_args(argv)
    try:
        arguments.action(arguments)
    except BedsideRuntimeError as error:
        print(f"error: {error}\nremedy: {error.remedy}", file=sys.stderr)  # noqa: T201 - a command's own output
        if arguments.json:
            _say({"code": error.code, "message": str(error), "remedy": error.remedy})
        return error.exit_code
    return 0


def _inspect(_: argparse.Namespace) -> None:
    """InspectionRequest on stdin, Inspection on stdout."""
    _say(msgspec.to_builtins(adapters.inspect(_decoded(sys.stdin.buffer.read(), InspectionRequest))))


class _Questions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    request: InspectionRequest
    rows: tuple[dict[str, Any], ...]


def _answer(_: argparse.Namespace) -> None:
    """A request and rows on stdin, the model's raw outputs on stdout."""
    asked = _decoded(sys.stdin.buffer.read(), _Questions)
    rows = compile_inputs(asked.request.inputs).rows(asked.rows)
    predictor = adapters.open_unreleased(asked.request)
    _say([predictor.predict([row.cells])[0] for row in rows])  # each alone, as a lone patient is answered


def _verify(arguments: argparse.Namespace) -> None:
    """Load the release, replay its golden cases, say what was measured."""
    loaded = loading.load(arguments.directory, digest=arguments.digest, key=_key(arguments))
    _say(
        {
            "digest": loaded.digest,
            "cases": loaded.report.cases,
            "largest_difference": loaded.report.largest_difference,
            "largest_batch_difference": loaded.report.largest_batch_difference,
            "timings": loaded.timings,
            "rss_bytes": _peak_memory(),
            "notes": list(loaded.notes),
        }
    )


def _choose_engine(arguments: argparse.Namespace) -> None:
    """Prove an engine for a release that is being packaged; progress on stderr, the choice on stdout."""
    choice = proving.choose(arguments.directory, arguments.engine, _progress)
    _say(msgspec.to_builtins(choice))


def _progress(name: str, done: int, count: int) -> None:
    print(json.dumps({"step": name, "done": done, "of": count}), file=sys.stderr, flush=True)  # noqa: T201


def _convert(_: argparse.Namespace) -> None:
    """ConversionRequest on stdin: write the model as ONNX; what did it on stdout."""
    asked = _decoded(sys.stdin.buffer.read(), ConversionRequest)
    target = Path(asked.target)
    data, converted = adapters.convert(asked.model, f"{target.parent.name}/{target.name}")
    target.write_bytes(data)
    _say(msgspec.to_builtins(converted))


def _download(_: argparse.Namespace) -> None:
    """DownloadRequest on stdin: bring a model file that is being packaged; progress on stderr."""
    asked = _decoded(sys.stdin.buffer.read(), DownloadRequest)
    fetched = artifact.download_unreleased(asked, os.environ, on_progress=_Told("download"))
    _say(msgspec.to_builtins(fetched))


def _fetch(arguments: argparse.Namespace) -> None:
    """Bring the model file of a release that does not carry it; in a pod, before the server starts."""
    events = EventLog()
    try:
        fetched = artifact.fetch(
            arguments.directory,
            os.environ,
            digest=arguments.digest,
            key=_key(arguments),
            local=arguments.local,
            on_progress=_Told("fetch"),
        )
    except BedsideRuntimeError as error:
        events.error("fetch-failed", reason=error.code, exit_code=error.exit_code)
        raise
    events.info("fetched", digest=arguments.digest)
    _say(msgspec.to_builtins(fetched))


class _Told:
    """Says on stderr how far a file is, once for each hundredth of it."""

    def __init__(self, event: str) -> None:
        self._event, self._said = event, -1

    def __call__(self, done: int, count: int) -> None:
        if (share := done * 100 // count) > self._said:
            self._said = share
            _progress(self._event, done, count)


def _serve(arguments: argparse.Namespace) -> None:
    """Serve a release until a signal ends it; ends the process with its exit code."""
    load = server.release(arguments.directory, arguments.digest, _key(arguments))
    settings = loading.settings(arguments.directory)
    starting.require(settings, os.environ)
    guard = Guard(settings, arguments.host, os.environ, local=arguments.local)
    if arguments.worker is not None:
        index, connections, reports = arguments.worker
        entrance = Handed(connections, reports)
        server.end(server.serve(load, entrance, guard, EventLog(worker=index), local=arguments.local))
    address = Address(arguments.host, arguments.port, arguments.admin_port)
    ports = Listening(address, tls=guard.context is not None)
    if settings is not None and settings.workers > 1:
        server.end(
            workers.serve((sys.executable, *sys.orig_argv[1:]), settings, ports, EventLog(), local=arguments.local)
        )
    server.end(server.serve(load, ports, guard, EventLog(), local=arguments.local))


def _key(arguments: argparse.Namespace) -> Verifies | None:
    """Return how the key that is named verifies; its library is needed only where one is."""
    if not arguments.key:
        return None
    from bedside_runtime import signing_key  # needs the extra `signature`, which no other release does

    return signing_key.read(Path(arguments.key))


def _replay(arguments: argparse.Namespace) -> None:
    """Ask the server beside this process its golden cases, and say what it runs in."""
    replayed = replaying.replay(arguments.directory, arguments.port, digest=arguments.digest, within=arguments.within)
    _say(
        {
            "replayed": msgspec.to_builtins(replayed),
            "confinement": msgspec.to_builtins(confinement.observe(arguments.directory.parent)),
            "environment": msgspec.to_builtins(environment.fingerprint()),
        }
    )


def _compile(arguments: argparse.Namespace) -> None:
    """Write the bytecode that an image of this environment carries."""
    try:
        files = bytecode.write(arguments.module, arguments.to, arguments.site)
    except ImportError as error:
        raise LibraryMissing(f"a module that is to be compiled cannot be imported: {error}") from None
    _say({"files": files})


def _worker(said: str) -> tuple[int, int, int]:
    index, connections, reports = map(int, said.split(","))
    return index, connections, reports


def _audit_verify(arguments: argparse.Namespace) -> None:
    """Say what an audit log is found to be; exits with the verdict's own code."""
    report = reading.judge(
        arguments.directory,
        keys=arguments.key,
        checkpoints=arguments.checkpoint,
        pod=arguments.pod,
        partial=arguments.partial,
    )
    _say(msgspec.to_builtins(report))
    sys.exit(EXIT_CODES[report.verdict])


SUBCOMMANDS: dict[str, tuple[str, Action]] = {
    "inspect": ("find out what a model file is (InspectionRequest on stdin)", _inspect),
    "answer": ("ask a model file (a request and rows on stdin)", _answer),
    "convert": ("convert a model file to ONNX (ConversionRequest on stdin)", _convert),
    "download": ("bring a model file from object storage (DownloadRequest on stdin)", _download),
    "fetch": ("bring the model file of a release from object storage", _fetch),
    "verify": ("load a release and replay its golden cases", _verify),
    "choose-engine": ("prove an engine for a release that is being packaged", _choose_engine),
    "serve": ("serve a release: public port, admin port, probes", _serve),
    "replay": ("ask the server on loopback its golden cases, from inside its container", _replay),
    "compile": ("write the bytecode of everything that serving imports", _compile),
    "audit-verify": ("verify the audit log of one pod", _audit_verify),
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="bedside_runtime", description=__doc__)
    verbs = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, (help_, action) in SUBCOMMANDS.items():
        verb = verbs.add_parser(name, help=help_)
        verb.set_defaults(action=action)
        verb.add_argument("--json", action="store_true", help="say errors as JSON on stdout too")
        if name in ("fetch", "verify", "serve", "choose-engine", "replay", "audit-verify"):
            verb.add_argument("directory", type=Path, metavar="DIR")
        if name in ("fetch", "verify", "serve", "replay"):
            verb.add_argument("--digest", help="the release digest that it must have")
        if name == "fetch":
            verb.add_argument("--local", action="store_true", help="on this machine: its own credentials count")
        if name in ("fetch", "verify", "serve"):
            verb.add_argument(
                "--key",
                default=os.environ.get("BEDSIDE_RELEASE_KEY"),
                help="public key in PEM that contract.sig must be signed with; BEDSIDE_RELEASE_KEY by default",
            )
        if name == "choose-engine":
            known = ["native", "auto", *engines.PREFERENCE, *engines.NAMED]
            verb.add_argument("--engine", choices=known, default="auto")
        if name == "serve":
            verb.add_argument(
                "--local", action="store_true", help="on this machine: authenticates nobody, ends at once"
            )
            verb.add_argument("--host", default="127.0.0.1", help="address of both ports")
            verb.add_argument("--port", type=int, default=8080, help="public port; 0 takes a free one")
            verb.add_argument("--admin-port", type=int, default=8081, help="metrics and probes; 0 takes a free one")
            verb.add_argument("--worker", type=_worker, help=argparse.SUPPRESS)
        if name == "replay":
            verb.add_argument("--port", type=int, default=8080, help="the server's public port")
            verb.add_argument("--within", type=float, default=60.0, help="seconds until it must be ready")
        if name == "compile":
            verb.add_argument("module", nargs="*", help="modules to import beside the runtime's own")
            verb.add_argument("--to", type=Path, required=True, help="stands for the root directory of the image")
            verb.add_argument("--site", type=Path, default=bytecode.SITE, help="where distributions lie in the image")
        if name == "audit-verify":
            verb.add_argument("--key", action="append", default=[], help="verification key, or a file with one")
            verb.add_argument("--checkpoint", action="append", default=[], type=Path, help="file of kept checkpoints")
            verb.add_argument("--pod", help="the pod that the log must be of; the folder's name by default")
            verb.add_argument("--partial", action="store_true", help="older segments are kept elsewhere")
    return parser


def _decoded(data: bytes, type_: type[Any]) -> Any:  # noqa: ANN401 - a value of ``type_``
    try:
        return msgspec.json.decode(data, type=type_)
    except msgspec.DecodeError as error:
        raise ContractInvalid(f"what stands on stdin cannot be read: {error}", remedy="Send one request.") from None


def _peak_memory() -> int:
    """Return the largest resident set of this process so far, in bytes; the kernel counts KiB, macOS bytes."""
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return largest if sys.platform == "darwin" else largest * 1024


def _say(value: object) -> None:
    print(json.dumps(value))  # noqa: T201 - a command's own output


if __name__ == "__main__":
    sys.exit(main())
