"""The command line of a package: `python -m PACKAGE VERB --option value`.

A verb's parser is made from its function's signature and docstring, by the source alone: a command that was typed wrong is
refused before anything is imported. Exit statuses, the same for every command:

| status | what it means |
|---|---|
| 0 | done |
| 1 | a fault in the input, or some cases failed; the others are written |
| 2 | the command was typed wrong; nothing was begun |
| 130 | stopped by Ctrl-C |
"""

from __future__ import annotations

import inspect
import json
import math
import os
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, redirect_stdout
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

from scripts.errors import plain_cause, say_plainly
from scripts.parser import WIDTH, nearest, parse, parser_of, statuses
from scripts.signature import Verb, file_of, read_verb


@dataclass(frozen=True)
class Answer:
    """What a verb has to say.

    Attributes:
        text: for people.
        data: the same for machines: what JSON can hold, printed on `--json`.
        failed: some cases failed, or a check did: the exit status is 1.
    """

    text: str
    data: Mapping[str, Any]
    failed: bool = False

    def __str__(self) -> str:
        return self.text

    def to_json(self) -> str:
        """One JSON object; numbers that JSON lacks (NaN, infinity) are null."""
        return json.dumps(_plain(self.data), indent=1, ensure_ascii=False, allow_nan=False)


def run(package: str, verbs: Mapping[str, str], arguments: Sequence[str]) -> NoReturn:
    """Run the verb named first and leave with its status; without one, list them.

    Args:
        package: its name, for the help.
        verbs: verb -> "module:function".
        arguments: what follows the package's name.

    Raises:
        SystemExit: always; its code is one of STATUSES.
    """
    name = arguments[0] if arguments else "--help"
    if name in ("-h", "--help"):
        print(overview(package, verbs))
        raise SystemExit(0)
    call, as_json = read_command(package, verbs, arguments)
    _leave(call, as_json=as_json)


def read_command(package: str, verbs: Mapping[str, str], arguments: Sequence[str]) -> tuple[Callable[[], object], bool]:
    """What a verb and its options come to: the call, which imports the verb's module, and whether JSON is asked for.

    Raises:
        SystemExit: with 2, they are typed wrong; with 0, after a verb's help.
    """
    name, *words = arguments
    if name not in verbs:
        print(f"error: python -m {package}: no verb {name}{nearest(name, verbs)} (--help lists them)", file=sys.stderr)
        raise SystemExit(2)
    given, as_json = parse(verb_of(verbs, name), f"python -m {package} {name}", words)
    module, function = verbs[name].split(":")
    return lambda: getattr(import_module(module), function)(**given), as_json


def run_function(function: Callable[..., object], arguments: Sequence[str] | None = None) -> NoReturn:
    """Run one function as a command of its own: that of a script, whose name leads its usage.

    Args:
        function: of the module that is run.
        arguments: what was typed; None: of this process.

    Raises:
        SystemExit: always.
    """
    file = Path(inspect.getfile(function))
    program = f"python {os.path.relpath(file)}"
    words = sys.argv[1:] if arguments is None else arguments
    given, as_json = parse(read_verb(file, function.__name__), program, words)
    _leave(lambda: function(**given), as_json=as_json)


def verb_of(verbs: Mapping[str, str], name: str) -> Verb:
    """What a verb's function says of itself; its module is not imported."""
    module, function = verbs[name].split(":")
    return read_verb(file_of(module), function)


def overview(package: str, verbs: Mapping[str, str]) -> str:
    """Every verb with its first sentence."""
    width = max(len(name) for name in verbs) + 2
    lines = [f"usage: python -m {package} VERB [--option VALUE ...]", f"       python -m {package} VERB --help", ""]
    for name in verbs:
        said = textwrap.wrap(verb_of(verbs, name).summary, WIDTH - width - 2)
        lines += [f"  {name if number == 0 else '':<{width}}{line}" for number, line in enumerate(said or [""])]
    return "\n".join([*lines, "", statuses()])


def describe(package: str, verbs: Mapping[str, str], name: str) -> str:
    """The text of `python -m PACKAGE VERB --help`."""
    return parser_of(verb_of(verbs, name), f"python -m {package} {name}").format_help()


def _leave(call: Callable[[], object], *, as_json: bool) -> NoReturn:
    """Call it, print what it says, and leave with the status that it comes to."""
    try:
        with _stdout_for_json() if as_json else nullcontext():
            said = call()
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        raise SystemExit(130) from None
    except Exception as error:
        say_plainly(type(error), error, error.__traceback__)
        if as_json:
            print(json.dumps({"error": str(plain_cause(error) or error)}, ensure_ascii=False))
        raise SystemExit(1) from None
    if isinstance(said, Answer):
        print(said.to_json() if as_json else said.text)
        raise SystemExit(int(said.failed))
    if said is not None:
        print(said)
    raise SystemExit(0)


@contextmanager
def _stdout_for_json() -> Iterator[None]:
    """Meanwhile what a library, or a process that was started, prints goes to stderr."""
    sys.stdout.flush()
    kept = os.dup(1)
    try:
        os.dup2(2, 1)
        with redirect_stdout(sys.stderr):
            yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


def _plain(value: Any) -> Any:
    """The value with JSON's kinds alone."""
    if isinstance(value, Mapping):
        return {str(name): _plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, Path) else value
