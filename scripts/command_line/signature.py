"""What a verb's function says of itself, read from its source: options, their types, the Google-style docstring.

Nothing is imported: a command line that is wrong, or only asks for help, need not wait for torch.
"""

from __future__ import annotations

import ast
import re
import textwrap
from dataclasses import dataclass
from pathlib import Path

from scripts.command_line.kinds import Kind, union

ROOT = Path(__file__).resolve().parents[2]  # the folder that holds the packages
PLAIN = {name: Kind(name) for name in ("str", "int", "float", "bool", "Path")}
LISTS = ("Sequence", "list", "tuple", "Iterable")
SECTION = re.compile(r"(Args|Example|Returns|Raises|Yields|Attributes|Note):$")


@dataclass(frozen=True)
class Option:
    """One parameter.

    Attributes:
        name: without dashes.
        kind: of its value.
        required: it has no default.
        default: as it would be typed; "" where it is none, or no constant.
        description: of the docstring.
    """

    name: str
    kind: Kind
    required: bool
    default: str
    description: str


@dataclass(frozen=True)
class Verb:
    """One function, as a command.

    Attributes:
        summary: the first sentence of its docstring.
        text: what follows it, up to the first section.
        options: in the function's order.
        example: the command under `Example:`.
        answers: it returns an `Answer`, which JSON can be made of.
    """

    summary: str
    text: str
    options: tuple[Option, ...]
    example: str
    answers: bool


def read_verb(file: Path, function: str) -> Verb:
    """The command that a module's function makes.

    Args:
        file: the module's source.
        function: a name of its first level.

    Raises:
        LookupError: no such function.
    """
    source = _Source(file)
    node = source.find(function)
    if not isinstance(node, ast.FunctionDef):
        raise LookupError(f"{file} has no function {function}")
    summary, text, sections = split_docstring(ast.get_docstring(node) or "")
    said = described(sections.get("Args", ""))
    given = node.args
    parameters = [*given.posonlyargs, *given.args, *given.kwonlyargs]
    missing: list[ast.expr | None] = [None] * (len(given.posonlyargs + given.args) - len(given.defaults))
    options = []
    for parameter, default in zip(parameters, [*missing, *given.defaults, *given.kw_defaults], strict=True):
        kind = source.kind(parameter.annotation)
        shown = "" if default is None else source.constant(default)
        options.append(Option(parameter.arg, kind, default is None, shown, said.get(parameter.arg, "")))
    answers = node.returns is not None and ast.unparse(node.returns) == "Answer"
    return Verb(summary, text, tuple(options), sections.get("Example", ""), answers)


def file_of(module: str) -> Path:
    """The source of one of our modules."""
    return ROOT.joinpath(*module.split(".")).with_suffix(".py")


def split_docstring(docstring: str) -> tuple[str, str, dict[str, str]]:
    """The first sentence, the text after it, and the sections without their indentation."""
    head: list[str] = []
    sections: dict[str, list[str]] = {}
    into = head
    for line in docstring.splitlines():
        if found := SECTION.match(line):
            into = sections.setdefault(found[1], [])
        else:
            into.append(line)
    text = "\n".join(head).strip()
    first, _, after = text.partition("\n\n")
    sentence = re.match(r".*?[.!?](?=\s|$)", first, flags=re.DOTALL)
    summary = first if sentence is None else sentence[0]
    rest = " ".join(first[len(summary) :].split())
    text = "\n\n".join(part for part in (rest, after.strip()) if part)
    return (
        " ".join(summary.split()),
        text,
        {name: textwrap.dedent("\n".join(lines)).strip() for name, lines in sections.items()},
    )


def described(arguments: str) -> dict[str, str]:
    """Name -> description, of the lines under `Args:`. Several names may share one; indented lines go on with it."""
    said: dict[str, str] = {}
    names: list[str] = []
    for line in arguments.splitlines():
        found = re.match(r"((?:\w+)(?:, *\w+)*): +(.*)", line)
        if found:
            names = [name.strip() for name in found[1].split(",")]
            said |= dict.fromkeys(names, found[2].strip())
        elif line.strip():
            said |= {name: f"{said[name]} {line.strip()}" for name in names}
    return said


class _Source:
    """A module's names, without running it; those that it imports from our own modules are followed."""

    def __init__(self, file: Path) -> None:
        self.tree = ast.parse(file.read_text(encoding="utf-8"), str(file))

    def find(self, name: str) -> ast.AST | None:
        """The definition or the value of a name of the first level."""
        for node in self.tree.body:
            if isinstance(node, ast.FunctionDef) and node.name == name:
                return node
            if isinstance(node, ast.AnnAssign | ast.Assign):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                for target in targets:
                    if isinstance(target, ast.Name) and target.id == name:
                        return node.value
                    if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
                        pairs = zip(target.elts, node.value.elts, strict=False)
                        for one, value in pairs:
                            if isinstance(one, ast.Name) and one.id == name:
                                return value
        return None

    def owner(self, name: str) -> tuple[_Source, ast.AST] | None:
        """The module that a name comes from, and its value there; None where it isn't one of ours."""
        if (value := self.find(name)) is not None:
            return self, value
        for node in ast.walk(self.tree):  # some imports are for annotations alone, inside an `if`
            if isinstance(node, ast.ImportFrom) and node.module:
                for alias in node.names:
                    if (alias.asname or alias.name) == name and file_of(node.module).is_file():
                        return _Source(file_of(node.module)).owner(alias.name)
        return None

    def kind(self, annotation: ast.AST | None) -> Kind:
        """Of an annotation's values. What is neither plain nor a list is a literal."""
        if isinstance(annotation, ast.Constant) and annotation.value is None:
            return Kind("None")
        if isinstance(annotation, ast.BinOp):
            return union(self.kind(annotation.left), self.kind(annotation.right))
        if isinstance(annotation, ast.Name):
            if annotation.id in PLAIN:
                return PLAIN[annotation.id]
            found = self.owner(annotation.id)
            return Kind("literal") if found is None else found[0].kind(found[1])
        if isinstance(annotation, ast.Subscript) and isinstance(annotation.value, ast.Name):
            if annotation.value.id == "Literal":
                return Kind(
                    "choice", choices=tuple(ast.literal_eval(ast.Tuple(_elements(annotation.slice), ast.Load())))
                )
            if annotation.value.id in LISTS:
                return Kind("list", element=self.kind(_elements(annotation.slice)[0]))
        return Kind("literal")

    def constant(self, default: ast.AST) -> str:
        """A default as it would be typed; "" for None and for what is no constant."""
        if isinstance(default, ast.Name):
            found = self.owner(default.id)
            return "" if found is None else found[0].constant(found[1])
        try:
            value = ast.literal_eval(ast.unparse(default))
        except ValueError:
            return ""
        if isinstance(value, list | tuple):
            flat = not any(isinstance(part, list | tuple) for part in value)
            return " ".join(map(str, value)) if flat else str(list(map(list, value)))
        return "" if value is None else str(value)


def _elements(node: ast.expr) -> list[ast.expr]:
    return node.elts if isinstance(node, ast.Tuple) else [node]
