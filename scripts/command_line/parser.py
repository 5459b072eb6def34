"""A verb's parser, made from what its function says of itself: its help, the values of its options, its complaints."""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any, NoReturn

from scripts.command_line.kinds import from_words
from scripts.command_line.signature import Option, Verb

STATUSES = {
    0: "done",
    1: "a fault in the input, or some cases failed",
    2: "typed wrong: nothing was begun",
    130: "stopped by Ctrl-C",
}
WIDTH = 110


class _Help(argparse.RawDescriptionHelpFormatter):
    def _split_lines(self, text: str, width: int) -> list[str]:
        """No break inside hd-bet."""
        return _wrapped(text, width)

    def _format_args(self, action: argparse.Action, default_metavar: str) -> str:
        """A list's values as `INT ...`."""
        return str(action.metavar) if action.nargs == "+" else super()._format_args(action, default_metavar)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Leave with status 2 and one line."""
        self.exit(2, f"error: {self.prog}: {message.replace('argument --', '--')} (--help says more)\n")


def parser_of(verb: Verb, program: str) -> argparse.ArgumentParser:
    """The parser of one verb. It takes the words as they are; `parse` makes values of them."""
    needed = [option for option in verb.options if option.required]
    usage = " ".join([program, *(f"--{option.name} {option.kind.shown}" for option in needed), "[--option VALUE ...]"])
    paragraphs = [verb.summary, *verb.text.split("\n\n")]
    epilog = [f"example:\n{textwrap.indent(verb.example, '  ')}"] if verb.example else []
    parser = _Parser(
        prog=program,
        usage=usage.replace("%", "%%"),
        description="\n\n".join("\n".join(_wrapped(paragraph, WIDTH)) for paragraph in paragraphs if paragraph),
        epilog="\n\n".join([*epilog, statuses()]),
        allow_abbrev=False,
        formatter_class=lambda prog: _Help(prog, width=WIDTH, max_help_position=32),
        add_help=False,
    )
    groups = {
        True: parser.add_argument_group("needed, by name or in this order"),
        False: parser.add_argument_group("options"),
    }
    for option in verb.options:
        _add(groups[option.required], option)
    if verb.answers:
        text = "print the answer as JSON; stdout holds nothing else"
        groups[False].add_argument("--json", action="store_true", help=text)
    groups[False].add_argument("-h", "--help", action="help", help="show this and leave")
    return parser


def parse(verb: Verb, program: str, words: Sequence[str]) -> tuple[dict[str, Any], bool]:
    """The values of the options that were given, and whether JSON is asked for.

    Args:
        verb: whose options they are.
        program: what was typed before the words.
        words: what follows.

    Raises:
        SystemExit: with 2 where the words are no command of the verb, with 0 after its help.
    """
    parser = parser_of(verb, program)
    namespace, left = parser.parse_known_args(list(words))
    typed: dict[str, list[list[str]]] = {}
    for option in verb.options:
        if (found := vars(namespace).get(option.name)) is not None:
            typed[option.name] = [[one] if isinstance(one, str) else one for one in found]
    unknown = next((word for word in left if word.startswith("-") and len(word) > 1), None)
    if unknown is not None:
        name = unknown.lstrip("-").partition("=")[0]
        known = [*(option.name for option in verb.options), *(["json"] if verb.answers else [])]
        parser.error(f"no option --{name}{nearest(name, known, dashes='--')}")
    open_places = [option for option in verb.options if option.required and option.name not in typed]
    if len(left) > len(open_places):
        parser.error(f"{left[len(open_places)]!r} belongs to no option")
    typed |= {option.name: [[word]] for option, word in zip(open_places, left, strict=False)}
    values: dict[str, Any] = {}
    for option in verb.options:
        if option.name not in typed:
            if option.required:
                parser.error(f"--{option.name} is missing")
            continue
        if len(typed[option.name]) > 1:
            parser.error(f"--{option.name} is given more than once")
        try:
            values[option.name] = from_words(option.kind, typed[option.name][0])
        except ValueError as error:
            parser.error(f"--{option.name} {error}")
    return values, bool(vars(namespace).get("json"))


def nearest(name: str, known: Sequence[str] | Mapping[str, str], *, dashes: str = "") -> str:
    """`; did you mean NAME?`, where one of the known names is near."""
    found = get_close_matches(name.replace("-", "_") if dashes else name, list(known), n=1, cutoff=0.5)
    return f"; did you mean {dashes}{found[0]}?" if found else ""


def _add(group: argparse._ArgumentGroup, option: Option) -> None:
    default = f" (default: {option.default})" if option.default else ""
    count: str | None = "+" if option.kind.element is not None else "?" if option.kind.name == "bool" else None
    group.add_argument(
        f"--{option.name}",
        action="append",
        nargs=count,
        const="True" if count == "?" else None,
        metavar=option.kind.shown,
        help=_escaped(option.description + default),
        dest=option.name,
    )


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(" ".join(text.split()), width, break_on_hyphens=False)


def _escaped(text: str) -> str:
    return text.replace("%", "%%")


def statuses() -> str:
    """The table of exit statuses, for every help."""
    return "exit status:\n" + "\n".join(f"  {status:<5}{meaning}" for status, meaning in STATUSES.items())
