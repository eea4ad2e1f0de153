"""The command `bedside`: the list of verbs, and the only place that catches everything."""

import importlib
import os
import signal
import sys
from collections.abc import Mapping
from types import FrameType, MappingProxyType
from typing import Final, NoReturn

import click

from bedside import __version__
from bedside.cli import console
from bedside.errors import BedsideError
from bedside_runtime.errors import BedsideRuntimeError

VERBS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "init": "Write bedside.toml, golden cases and a card from a trained model.",
        "doctor": "Show what is installed, reachable and missing, and how to get it.",
        "package": "Lock, inspect, prove: write the release.",
        "verify": "Recompute and compare everything about a release.",
        "fetch": "Bring a model that lies in object storage to its release.",
        "serve": "Run the release's own runtime on 127.0.0.1.",
        "keys": "Make an API key, and the line that admits it.",
        "predict": "Ask a server or a release for one prediction or a whole CSV.",
        "check": "Find what makes a deployment unsafe, above all between its files.",
        "manifests": "Write everything that a release needs in a cluster.",
        "deploy": "Bring a release into a cluster, prove it there, or bring the last good one back.",
        "status": "Show what runs in a cluster, whether it is ready, and what differs from its release.",
        "rollback": "Bring a release back that ran before, proven again.",
        "dockerfile": "Print the Dockerfile of a release, to read or to build by hand.",
        "build": "Make the image of a release; proven before it has a name.",
        "sbom": "Write what an image is made of: packages, Python distributions, the model.",
        "scan": "Find secrets, patients and known vulnerabilities in an image or a release.",
        "sign": "Sign a release, or an image with what is known about it.",
        "audit": "Prove, read and hand on the prediction log; make its keys.",
        "push": "Bring an image to a registry by digest, and read it back.",
    }
)
"""Every verb with its line of help; each is a module here, imported when it is called."""

INTERNAL_ERROR = 70
"""EX_SOFTWARE of sysexits.h: a defect of bedside itself."""


class _Verbs(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in VERBS:
            return None
        command: click.Command = importlib.import_module(f"bedside.cli.{cmd_name}").command
        command.short_help = VERBS[cmd_name]
        return command


@click.group(cls=_Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="bedside")
def bedside() -> None:
    """From bench to bedside: ship a trained clinical model, and prove that what runs is what was validated.

    A release is a directory with the model, its locked environment and its golden cases: patients with the answers
    that the validation study got. Start with init, package, verify, serve.

    Exit codes: 0 done; 1 a check or gate said no; 2 usage or invalid bedside.toml; 3 verification failed;
    4 an outside tool or service failed or is missing.
    """


def run(arguments: list[str] | None = None) -> int:
    """Run one command line and return its exit code."""
    try:
        code = bedside.main(arguments, prog_name="bedside", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return 2
    except (BedsideError, BedsideRuntimeError) as error:
        console.refusal(error)
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        console.note("interrupted")
        return 130
    except Exception as error:  # noqa: BLE001 - the one catch-all: a defect is reported, never a bare traceback
        console.defect(error)
        return INTERNAL_ERROR
    return code if isinstance(code, int) else 0


def _interrupt(number: int, _: FrameType | None) -> NoReturn:
    """End as at Ctrl-C: containers are removed, scratch directories too. Once; `timeout` sends its signal twice."""
    signal.signal(number, lambda *_: None)
    raise KeyboardInterrupt


def main() -> NoReturn:
    """Entry point of the command."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:  # under nohup it is ignored, and stays so
            signal.signal(number, _interrupt)
    code = run()
    try:
        sys.stdout.flush()
    except (
        BrokenPipeError
    ):  # whoever read the result has gone, as `head` does; Python would say so once more at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)
