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
import os
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, redirect_stdout
from importlib import import_module
from pathlib import Path
from typing import NoReturn

from scripts.answer import Answer, as_json
from scripts.command_line.parser import WIDTH, nearest, parse, parser_of, statuses
from scripts.command_line.signature import Verb, file_of, read_verb
from scripts.errors import FailedCheckError, plain_cause, say_plainly


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
        _print(overview(package, verbs))
        raise SystemExit(0)
    call, in_json = read_command(package, verbs, arguments)
    _leave(call, in_json=in_json)


def read_command(package: str, verbs: Mapping[str, str], arguments: Sequence[str]) -> tuple[Callable[[], object], bool]:
    """What a verb and its options come to: the call, which imports the verb's module, and whether JSON is asked for.

    Raises:
        SystemExit: with 2, they are typed wrong; with 0, after a verb's help.
    """
    name, *words = arguments
    if name not in verbs:
        print(f"error: python -m {package}: no verb {name}{nearest(name, verbs)} (--help lists them)", file=sys.stderr)
        raise SystemExit(2)
    given, in_json = parse(verb_of(verbs, name), f"python -m {package} {name}", words)
    module, function = verbs[name].split(":")
    return lambda: getattr(import_module(module), function)(**given), in_json


def run_function(function: Callable[..., object], arguments: Sequence[str] | None = None) -> NoReturn:
    """Run one function as a command of its own: that of a script, whose name leads its usage.

    Args:
        function: of the module that is run.
        arguments: what was typed; None: of this process.

    Raises:
        SystemExit: always.
    """
    file = Path(inspect.getfile(function))
    module = getattr(sys.modules["__main__"], "__spec__", None)  # of `python -m MODULE`
    program = f"python {os.path.relpath(file)}"
    if module is not None and module.origin == str(file):
        program = f"python -m {module.name}"
    words = sys.argv[1:] if arguments is None else arguments
    given, in_json = parse(read_verb(file, function.__name__), program, words)
    _leave(lambda: function(**given), in_json=in_json)


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


def _leave(call: Callable[[], object], *, in_json: bool) -> NoReturn:
    """Call it, print what it says, and leave with the status that it comes to."""
    try:
        with _stdout_for_json() if in_json else nullcontext():
            said = call()
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        raise SystemExit(130) from None
    except Exception as error:
        say_plainly(type(error), error, error.__traceback__)
        cause = plain_cause(error)
        if in_json:
            print(
                as_json({"error": str(cause or error), **(cause.data if isinstance(cause, FailedCheckError) else {})})
            )
        raise SystemExit(1) from None
    failed = isinstance(said, Answer) and said.failed
    text = said.to_json() if in_json and isinstance(said, Answer) else said
    if failed and not in_json:
        print(text, file=sys.stderr)
    elif text is not None:
        _print(str(text))
    raise SystemExit(int(failed))


def _print(text: str) -> None:
    """To a reader who may have gone, such as `head`."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


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
