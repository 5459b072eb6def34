"""The forms in which the network is exported: one file each, one function, for different runtimes."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass

from export.lower import Lowering
from scripts.errors import InputError

# Planes of fewer voxels than these share one tensor.
EVERYTHING = 2**31
FEW_NODES = 256  # each node takes memory and, on a GPU, a launch
SMALL = 32  # below it, operators cost more than their arithmetic


@dataclass(frozen=True)
class Form:
    """One file of the export.

    Attributes:
        file: its name.
        meant_for: for people.
        lowering: how the 3-D graph is rewritten; None leaves it as it is.
        cpu_flag: what the processor must have (a flag of /proc/cpuinfo), "" for none.
        without_flag: what it must not have: with AVX-512, ONNX Runtime's blocks are of 16 and nothing else.
    """

    file: str
    meant_for: str
    lowering: Lowering | None
    cpu_flag: str = ""
    without_flag: str = ""

    @property
    def precision(self) -> str:
        """Of planes and weights; means, scores and the interface are float32 always."""
        return "float16" if self.lowering is not None and self.lowering.half else "float32"


FORMS = {
    "standard": Form("etscnet.onnx", "any runtime, on a CPU", Lowering(SMALL)),
    "nchwc16": Form("etscnet.nchwc16.onnx", "ONNX Runtime on x86 with AVX-512", Lowering(SMALL, block=16), "avx512f"),
    "nchwc16-lean": Form(
        "etscnet.nchwc16-lean.onnx",
        "the same with less memory, slower",
        Lowering(FEW_NODES, block=16, recompute=0.5),
        "avx512f",
    ),
    "nchwc8": Form("etscnet.nchwc8.onnx", "ONNX Runtime on x86 with AVX2", Lowering(SMALL, block=8), "avx2", "avx512f"),
    "nchwc8-lean": Form(
        "etscnet.nchwc8-lean.onnx",
        "the same with less memory, slower",
        Lowering(FEW_NODES, block=8, recompute=0.5),
        "avx2",
        "avx512f",
    ),
    "gpu": Form(
        "etscnet.gpu.onnx",
        "TensorRT, and other runtimes on a GPU",
        Lowering(FEW_NODES, fold_scale=False, half=True),
    ),
    "gpu-fp32": Form("etscnet.gpu-fp32.onnx", "the same in float32", Lowering(FEW_NODES, fold_scale=False)),
    "gpu-batch": Form(
        "etscnet.gpu-batch.onnx",
        "a GPU with memory to spare: far fewer nodes, float32",
        Lowering(EVERYTHING, fold_scale=False),
    ),
    "volume": Form("etscnet.volume.onnx", "other tools: 3-D operators, as torch exports them", None),
}
# Those that deployments need, and what the options add to them.
DEFAULT_FORMS = ("standard", "nchwc16", "nchwc8", "gpu-fp32")
LEAN_FORMS = ("nchwc16-lean", "nchwc8-lean")
HALF_FORMS = ("gpu",)


def chosen(
    names: str | Sequence[str] | None, cpu_flags: Set[str], *, lean: bool = False, half: bool = False
) -> dict[str, Form]:
    """The forms of these names; for None all that a deployment may need and this processor can prove.

    `lean` adds to those for None the one of little memory, `half` the one in float16.

    A form that does not run here is never exported: nobody would have compared it with torch.

    Raises:
        InputError: a name that is no form's, a form that does not run on a processor with these flags, or an addition to names.
    """
    if names is None:
        offered = (*DEFAULT_FORMS, *(LEAN_FORMS if lean else ()), *(HALF_FORMS if half else ()))
        return {name: FORMS[name] for name in offered if runs_on(FORMS[name], cpu_flags)}
    if lean or half:
        raise InputError(
            "--lean or --precision fp16 beside --forms",
            expected="one or the other",
            remedy="Name all forms in --forms.",
        )
    wanted = (names,) if isinstance(names, str) else tuple(names)
    unknown = [name for name in wanted if name not in FORMS]
    if unknown or not wanted:
        raise InputError(f"forms {unknown}", expected=f"some of {list(FORMS)}", remedy="Correct --forms.")
    for name in wanted:
        if not runs_on(FORMS[name], cpu_flags):
            raise InputError(
                f"the form {name} can't be compared with torch on this processor",
                expected=f"a processor for {FORMS[name].meant_for}",
                remedy="Export it on one that runs it, or leave it out of --forms.",
            )
    return {name: FORMS[name] for name in wanted}


def runs_on(form: Form, cpu_flags: Set[str]) -> bool:
    """Whether a processor with these flags runs the form."""
    return (not form.cpu_flag or form.cpu_flag in cpu_flags) and form.without_flag not in cpu_flags
