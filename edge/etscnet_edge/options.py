"""The command line's options, each declared once: `etscnet-edge VERB --option value`.

Nothing is imported that takes time, so that help and complaints come at once. Exit statuses, the same for every verb:

| status | what it means |
|---|---|
| 0 | done |
| 1 | a fault in the input |
| 2 | the command was typed wrong; nothing was begun |
| 130 | stopped by Ctrl-C |
"""

from __future__ import annotations

import argparse
import difflib
import math
import re
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

# What the classifier takes, which knows it by its libraries; a test holds both together.
RUNTIMES = ("cpu", "cuda", "ort-tensorrt", "tensorrt")
PREPROCESSING = ("numpy", "graph")
BRAIN_EXTRACTION = ("none", "network", "mask")
MASK_QUALITY = ("refuse", "warn")
STATUSES = (
    (0, "done"),
    (1, "a fault in the input"),
    (2, "typed wrong: nothing was begun"),
    (130, "stopped by Ctrl-C"),
)
WIDTH = 110


class _Help(argparse.RawDescriptionHelpFormatter):
    def _format_args(self, action: argparse.Action, default_metavar: str) -> str:
        """A list's values as `NAME ...`."""
        return str(action.metavar) if action.nargs == "+" else super()._format_args(action, default_metavar)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Leave with status 2 and one line."""
        said = re.sub(r"^argument (--\w+): ", r"\1 ", message)
        self.exit(2, f"error: {self.prog}: {said} (--help says more)\n")


def number(kind: Callable[[str], float], least: float, most: float = math.inf) -> Callable[[str], float]:
    """A type of an option: numbers from `least` to `most`, both included; never infinity."""
    word = "a whole number" if kind is int else "a number"
    expected = f"{word} from {least:g} on" if most == math.inf else f"{word} from {least:g} to {most:g}"

    def read(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            value = math.nan
        if not (least <= value <= most and math.isfinite(value)):
            raise argparse.ArgumentTypeError(f"{text}; expected {expected}")
        return value

    return read


def one_of(*words: str) -> Callable[[str], str]:
    """A type of an option: one of the words."""

    def read(text: str) -> str:
        if text not in words:
            raise argparse.ArgumentTypeError(f"{text}; expected one of {', '.join(words)}")
        return text

    return read


def truth(text: str) -> bool:
    """A type of an option: True or False.

    Raises:
        argparse.ArgumentTypeError: anything else.
    """
    if text.lower() not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"{text}; expected True or False")
    return text.lower() == "true"


def statuses() -> str:
    """The table of exit statuses, for every help."""
    return "exit status:\n" + "\n".join(f"  {status:<5}{meaning}" for status, meaning in STATUSES)


def nearest(name: str, known: Sequence[str]) -> str:
    """`; did you mean NAME?`, where one of the known names, which have no dashes, is near."""
    found = difflib.get_close_matches(name.lstrip("-").replace("-", "_"), known, n=1, cutoff=0.5)
    return f"; did you mean {name[: len(name) - len(name.lstrip('-'))]}{found[0]}?" if found else ""


class Options:
    """The options of one verb: whole names alone, each once.

    Args:
        program: what is typed before them, such as "etscnet-edge predict".
        summary: what it does, in sentences.
        example: the words after the program.

    Attributes:
        names: of the options, without dashes.
        needed: those that have no default.
    """

    def __init__(self, program: str, summary: str, example: str) -> None:
        self.summary, self.example = summary, example
        self.names: list[str] = []
        self.needed: list[str] = []
        self._parser = _Parser(
            prog=program,
            description=summary,
            epilog=f"example:\n  {program} {example}\n\n{statuses()}",
            formatter_class=lambda prog: _Help(prog, max_help_position=32, width=WIDTH),
            allow_abbrev=False,
            add_help=False,
        )
        self._parser.add_argument("-h", "--help", action="help", help="show this and leave")

    def read(self, words: Sequence[str]) -> argparse.Namespace:
        """The options' values.

        Args:
            words: what was typed after the program.

        Raises:
            SystemExit: with 2 where they are typed wrong, with 0 after the help.
        """
        given, left = self._parser.parse_known_args(list(words))
        for word in left:
            if word.startswith("-"):
                name = word.split("=")[0]
                self._parser.error(f"no option {name}{nearest(name, self.names)}")
            self._parser.error(f"{word!r} belongs to no option")
        typed = [word.split("=")[0] for word in words if word.startswith("--")]
        for name in typed:
            if typed.count(name) > 1:
                self._parser.error(f"{name} is given more than once")
        for name in self.needed:
            if getattr(given, name) is None:
                self._parser.error(f"--{name} is missing")
        return given

    def describe(self) -> str:
        """The text of `--help`."""
        return self._parser.format_help()

    def add(
        self,
        name: str,
        text: str,
        *,
        kind: Callable[[str], Any] = str,
        default: Any = None,
        shown: str = "PATH",
        needed: bool = False,
        several: bool = False,
    ) -> None:
        """One option.

        Args:
            name: without dashes.
            text: its description; the default is added.
            kind: makes the value of the word.
            default: None where the description says what is then done.
            shown: in the place of the value.
            needed: there is no default.
            several: values, one or more.
        """
        usual = " ".join(default) if several and default else default
        said = text if default is None else f"{text} (default: {usual})"
        self._parser.add_argument(
            f"--{name}",
            type=kind,
            default=default,
            metavar=shown,
            help=said.replace("%", "%%"),
            nargs="+" if several else "?" if kind is truth else None,
            const=True if kind is truth else None,
        )
        self.names.append(name)
        if needed:
            self.needed.append(name)
        wanted = [f"--{one} PATH" for one in self.needed]
        self._parser.usage = " ".join([self._parser.prog, *wanted, "[--option VALUE ...]"])

    def add_json(self) -> None:
        """`--json`."""
        self._parser.add_argument("--json", action="store_true", help="print the answer as JSON")
        self.names.append("json")

    def add_exports(self) -> None:
        """Where the export lies."""
        self.add("exports", "folder of etscnet.json", default="exports")

    def add_images(self, *, needed: bool, otherwise: str = "") -> None:
        """A pair, with its masks."""
        for name, what in (("flair", "FLAIR"), ("t2w", "T2w")):
            self.add(name, f"NIfTI file of the {what} image{otherwise}", needed=needed)
        for name, what in (("flair", "FLAIR"), ("t2w", "T2w")):
            text = f"brain mask on the {what}'s grid; without masks the images must be brain-extracted"
            self.add(f"{name}_mask", text)

    def add_runtime(self, *, memory_mb: float | None) -> None:
        """What runs the network, and with how much."""
        text = "of ONNX Runtime (cpu, cuda, ort-tensorrt), or tensorrt itself; never another than asked for"
        self.add("runtime", text, kind=one_of(*RUNTIMES), default="cpu", shown="|".join(RUNTIMES))
        text = "one of the manifest's forms; by default the one for this processor, on a GPU gpu-fp32"
        self.add("form", text, shown="NAME")
        self.add("threads", "of ONNX Runtime, 1 to 1024", kind=number(int, 1, 1024), default=2, shown="INT")
        text = "the most resident memory of the process, 10^6 bytes: what does not fit is refused"
        self.add("memory_mb", text, kind=number(float, 1), default=memory_mb, shown="NUMBER")
        self.add("engines", "folder of TensorRT's engines; by default beside the export")

    def add_preprocessing(self) -> None:
        """What prepares the images."""
        text = "by numpy, or by the exported preprocess.onnx on ONNX Runtime (graph)"
        self.add("preprocessing", text, kind=one_of(*PREPROCESSING), default="numpy", shown="|".join(PREPROCESSING))

    def add_brain_extraction(self, text: str, *, default: str | None) -> None:
        """How the brain is found, and what a bad mask does."""
        shown = "|".join(BRAIN_EXTRACTION)
        self.add("brain_extraction", text, kind=one_of(*BRAIN_EXTRACTION), default=default, shown=shown)
        text = "what a mask of the network's that can't be a brain's does: refuse the study, or warn in its result"
        self.add("mask_quality", text, kind=one_of(*MASK_QUALITY), default="refuse", shown="|".join(MASK_QUALITY))
