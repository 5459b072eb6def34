"""Command line: `etscnet-edge predict --exports FOLDER --flair A --t2w B`."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from etscnet_edge.errors import InputError


def predict(
    flair: str,
    t2w: str,
    *,
    exports: str = "exports",
    flair_mask: str | None = None,
    t2w_mask: str | None = None,
    form: str | None = None,
    threads: int = 2,
    output: str | None = None,
) -> str:
    """Score one pair; prints its result as JSON.

    Args:
        flair: NIfTI file.
        t2w: NIfTI file.
        exports: the folder of etscnet.json.
        flair_mask: brain mask on the FLAIR's grid; without masks the images must be brain-extracted.
        t2w_mask: brain mask on the T2w's grid.
        form: of the manifest's; by default the one for this processor.
        threads: of ONNX Runtime.
        output: a file for the result, too; written whole or not at all.
    """
    from etscnet_edge.classifier import Classifier

    given = {"flair": flair_mask, "t2w": t2w_mask}
    masks = {name: path for name, path in given.items() if path is not None}
    with Classifier(str(exports), form=form, threads=int(threads)) as classifier:
        result = classifier.predict({"flair": str(flair), "t2w": str(t2w)}, masks)
    text = json.dumps(result.to_dict(), indent=2)
    if output is not None:
        path = Path(output)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        temporary.write_text(text + "\n")
        os.replace(temporary, path)
    return text


def main(arguments: list[str] | None = None) -> None:
    """Run a verb; a fault in the input is one line on stderr, and status 1."""
    import fire

    try:
        fire.Fire({"predict": predict}, command=arguments, name="etscnet-edge")
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
