"""The forms in which the network is exported: one file each, one function, for different runtimes."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass

from export.lower import Lowering
from scripts.errors import InputError

EVERYTHING = 2**31  # planes of fewer voxels than this are stacked: all of them
SMALL = 32  # below it, operators cost more than their arithmetic


@dataclass(frozen=True)
class Form:
    """One file of the export.

    Attributes:
        file: its name.
        meant_for: for people.
        lowering: how the 3-D graph is rewritten; None leaves it as it is.
        cpu_flag: what the processor must have (a flag of /proc/cpuinfo), "" for none.
    """

    file: str
    meant_for: str
    lowering: Lowering | None
    cpu_flag: str = ""

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
        Lowering(256, block=16, recompute=0.5),  # fewer nodes, which take memory too
        "avx512f",
    ),
    "nchwc8": Form("etscnet.nchwc8.onnx", "ONNX Runtime on x86 with AVX2", Lowering(SMALL, block=8), "avx2"),
    "nchwc8-lean": Form(
        "etscnet.nchwc8-lean.onnx", "the same with less memory, slower", Lowering(256, block=8, recompute=0.5), "avx2"
    ),
    "gpu": Form(
        "etscnet.gpu.onnx",
        "TensorRT, and other runtimes on a GPU",
        Lowering(256, fold_scale=False, half=True),
    ),
    "gpu-fp32": Form("etscnet.gpu-fp32.onnx", "the same in float32", Lowering(256, fold_scale=False)),
    "gpu-batch": Form(
        "etscnet.gpu-batch.onnx",
        "a GPU with memory to spare: far fewer nodes, float32",
        Lowering(EVERYTHING, fold_scale=False),
    ),
    "volume": Form("etscnet.volume.onnx", "other tools: 3-D operators, as torch exports them", None),
}
# Those that deployments need; the rest on demand.
DEFAULT_FORMS = ("standard", "nchwc16", "nchwc8", "gpu-fp32")


def chosen(
    names: str | Sequence[str] | None, cpu_flags: Set[str], *, lean: bool = False, half: bool = False
) -> dict[str, Form]:
    """The forms of these names; for None all that a deployment may need and this processor can prove.

    `lean` adds to those for None the one of little memory for this processor, `half` the one in float16.

    A form that does not run here is never exported: nobody would have compared it with torch.

    Raises:
        InputError: a name that is no form's, or a form that does not run on a processor with these flags.
    """
    if names is None:
        offered = [name for name in FORMS if name in DEFAULT_FORMS or (lean and name.endswith("-lean"))]
        offered += ["gpu"] if half else []
        return {name: FORMS[name] for name in offered if runs_on(FORMS[name].cpu_flag, cpu_flags)}
    wanted = (names,) if isinstance(names, str) else tuple(names)
    unknown = [name for name in wanted if name not in FORMS]
    if unknown or not wanted:
        raise InputError(f"forms {unknown}", expected=f"some of {list(FORMS)}", remedy="Correct --forms.")
    for name in wanted:
        if not runs_on(FORMS[name].cpu_flag, cpu_flags):
            raise InputError(
                f"the form {name} can't be compared with torch on this processor",
                expected=f"a processor for {FORMS[name].meant_for}",
                remedy="Export it on one that runs it, or leave it out of --forms.",
            )
    return {name: FORMS[name] for name in wanted}


def runs_on(needs: str, cpu_flags: Set[str]) -> bool:
    """Whether a processor with these flags runs a form that needs this one (with AVX-512, ONNX Runtime's blocks are of 16)."""
    if needs == "avx2":
        return "avx2" in cpu_flags and "avx512f" not in cpu_flags
    return not needs or needs in cpu_flags
