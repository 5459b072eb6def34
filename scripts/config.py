"""What a bundle's configuration does before anything else: refuse ids that nothing reads, and say faults in plain words."""

from __future__ import annotations

import difflib
import inspect
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from monai.bundle import ConfigParser, ConfigWorkflow, ReferenceResolver
from monai.bundle.properties import InferProperties, MetaProperties, TrainProperties
from monai.bundle.utils import DEFAULT_MLFLOW_SETTINGS
from monai.utils import BundlePropertyConfig

from scripts.errors import InputError, say_plainly

# Read by MONAI itself, not by another part of the configuration.
READ_BY_MONAI = {
    "imports",
    "initialize",
    "run",
    "finalize",
    "training",
    "evaluating",
    "inference",
    "_meta_",
    "code_path",
    # Of experiment tracking; federated clients set run_name.
    *dict(DEFAULT_MLFLOW_SETTINGS["configs"]),  # type: ignore[call-overload]
} | {
    str(spec[BundlePropertyConfig.ID])
    for group in (TrainProperties, InferProperties, MetaProperties)
    for spec in group.values()
}


def start() -> None:
    """The first step of "run": check the running configuration's ids, image size and precision.

    From here on, a fault in the input ends the program with its message in place of a traceback.

    Raises:
        InputError: an id that nothing reads, an image size that the networks can't take, or mixed precision without a GPU.
    """
    sys.excepthook = say_plainly
    parser = _running_parser()
    check_ids(parser)
    check_size(parser.get_parsed_content("spatial_size"))
    if "amp" in parser:
        check_amp(parser.get_parsed_content("amp"), parser.get_parsed_content("device"))


def check_ids(parser: ConfigParser) -> None:
    """MONAI takes any override, also one misspelt (`--epoch 1`), and goes on with the default. Refuse what nothing reads.

    Args:
        parser: of the configuration with its overrides.

    Raises:
        InputError: an id of a plain value that neither MONAI nor any "@" in the configuration refers to.
    """
    read = {ReferenceResolver.normalize_id(ref) for ref in references(parser.get())} | READ_BY_MONAI
    if isinstance(parser.get("train::trainer::max_epochs"), int):
        read.add("epochs")  # a federated client sets the property that stood for it
    ids = list(_ids(parser.get()))
    for name in ids:
        value = parser[name]
        if isinstance(value, dict) and "_target_" in value:
            continue  # an overlay may leave a component of what it is laid over without use
        if not any(_covers(ref, name) or _covers(name, ref) for ref in read):
            close = difflib.get_close_matches(name, [other for other in ids if other != name], n=1)
            raise InputError(
                f"nothing in the configuration reads the id {name!r}",
                expected="an id of the configuration" + (f", such as {close[0]!r}" if close else ""),
                remedy=f"Correct or remove --{name.replace('::', '#')}.",
            )


def check_size(spatial_size: Sequence[int]) -> None:
    """The networks halve the image five times.

    Raises:
        InputError: not three multiples of 32.
    """
    if len(spatial_size) != 3 or any(not isinstance(edge, int) or edge < 32 or edge % 32 for edge in spatial_size):
        raise InputError(
            f"spatial_size is {list(spatial_size)}",
            expected="three multiples of 32, such as [256,256,128]",
            remedy='Correct --spatial_size "[x,y,z]".',
        )


def check_amp(amp: object, device: torch.device | str) -> None:
    """MONAI's engines know mixed precision on CUDA alone, and elsewhere torch goes on without it.

    Raises:
        InputError: mixed precision on another device, or neither true nor false.
    """
    if not isinstance(amp, bool):
        raise InputError(f"amp is {amp!r}", expected="True or False", remedy="Correct --amp.")
    if amp and torch.device(device).type != "cuda":
        raise InputError(f"amp on the device {device}", expected="a CUDA device", remedy="Give --amp False.")


def _running_parser() -> ConfigParser:
    """MONAI hands expressions no way to the configuration that holds them: the workflow is found among the callers."""
    frame = inspect.currentframe()
    while frame is not None:
        workflow = frame.f_locals.get("self")
        if isinstance(workflow, ConfigWorkflow):
            return workflow.parser
        frame = frame.f_back
    raise RuntimeError("scripts.config.start is the first step of a bundle's 'run', and called from nowhere else.")


def _ids(config: dict[str, Any], prefix: str = "") -> Iterator[str]:
    """Every id that is a plain entry: top level, and entries of dictionaries that make no component."""
    for key, value in config.items():
        yield f"{prefix}{key}"
        if isinstance(value, dict) and "_target_" not in value and key != "_meta_":
            yield from _ids(value, f"{prefix}{key}::")


def references(value: Any) -> Iterator[str]:
    """The ids that a part of a configuration refers to: `@id` anywhere in a text, `%id` as the whole of it."""
    if isinstance(value, dict):
        for item in value.values():
            yield from references(item)
    elif isinstance(value, list):
        for item in value:
            yield from references(item)
    elif isinstance(value, str):
        text = ReferenceResolver.normalize_id(value)
        yield from (match[1:] for match in ReferenceResolver.id_matcher.findall(text))
        if text.startswith("%"):
            yield text[1:]


def _covers(outer: str, inner: str) -> bool:
    return inner == outer or inner.startswith(f"{outer}::")
