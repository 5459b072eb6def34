"""Command line: `etscnet-edge predict`, `serve`, `build`, `benchmark`. Its options: `verbs.py`."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from etscnet_edge.errors import InputError
from etscnet_edge.options import nearest
from etscnet_edge.verbs import VERBS, overview

if TYPE_CHECKING:
    from etscnet_edge.classifier import Classifier


def predict(given: Namespace) -> str:
    """Score one pair.

    Args:
        given: the options of `verbs.PREDICT`.

    Returns:
        The result as JSON.

    Raises:
        InputError: masks and another way to find the brains, or what the classifier refuses.
    """
    from etscnet_edge.files import write_atomically

    masks = _present(given, flair="flair_mask", t2w="t2w_mask")
    if masks and given.brain_extraction not in (None, "mask"):
        found, remedy = f"masks and --brain_extraction {given.brain_extraction}", "Leave one of them."
        raise InputError(found, expected="one way to find the brains", remedy=remedy)
    with _classifier(given, memory_mb=given.memory_mb) as classifier:
        result = classifier.predict(_present(given, flair="flair", t2w="t2w"), masks)
    text = json.dumps(result.to_dict(), indent=2)
    if given.picture is not None:
        from etscnet_edge.picture import draw

        write_atomically(given.picture, draw(result))
    if given.output is not None:
        write_atomically(given.output, (text + "\n").encode())
    return text


def serve(given: Namespace) -> None:
    """Serve the model until SIGTERM.

    Args:
        given: the options of `verbs.SERVE`.

    Raises:
        InputError: the server's libraries are missing, the bodies do not fit in the memory, half a TLS, or what the
            classifier refuses.
    """
    try:
        from etscnet_edge.server.body import BodyLimits
        from etscnet_edge.server.serve import run_server
    except ImportError as error:
        found, remedy = (
            f"the server's libraries are not installed ({error.name})",
            'pip install "etscnet-edge[server]".',
        )
        raise InputError(found, expected="starlette, uvicorn, prometheus-client", remedy=remedy) from error

    bodies = given.queue + 2  # the one in work, those that wait, and one twice for a moment
    for_the_model = given.memory_mb - bodies * given.body_mb
    if for_the_model <= 0:
        raise InputError(
            f"{bodies} bodies of {given.body_mb:g} MB",
            expected=f"less than the budget's {given.memory_mb:g} MB",
            remedy="Give more --memory_mb, or less --queue or --body_mb.",
        )
    if (given.tls_cert is None) != (given.tls_key is None):
        raise InputError("one of --tls_cert, --tls_key", expected="both", remedy="Give the other one, too.")
    run_server(
        lambda: _classifier(given, memory_mb=for_the_model),
        host=given.host,
        port=given.port,
        waiting=given.queue,
        limits=BodyLimits(int(given.body_mb * 1e6), given.body_timeout_s),
        token_file=given.token_file,
        tls=None if given.tls_cert is None else (given.tls_cert, given.tls_key),
    )


def build(given: Namespace) -> str:
    """Build the TensorRT engine of an export.

    Args:
        given: the options of `verbs.BUILD`.

    Returns:
        The engine's record as JSON.
    """
    from etscnet_edge.build import build as build_engine

    return build_engine(
        given.exports,
        form=given.form,
        engines=given.engines,
        memory_mb=given.memory_mb,
        timing_cache=given.timing_cache,
    )


def benchmark(given: Namespace) -> str:
    """Time studies on this device.

    Args:
        given: the options of `verbs.BENCHMARK`.

    Returns:
        A table, or with `--json` the figures.
    """
    from etscnet_edge.benchmark import Settings, measure, table
    from etscnet_edge.files import write_atomically

    images = _present(given, flair="flair", t2w="t2w")
    masks = _present(given, flair="flair_mask", t2w="t2w_mask")
    settings = Settings(
        given.exports, given.runtime, given.form, given.threads, given.memory_mb, given.engines, images, masks
    )
    result = measure(settings, runs=given.runs, cold_runs=given.cold_runs)
    text = json.dumps(result, indent=1)
    if given.output is not None:
        write_atomically(given.output, (text + "\n").encode())
    return text if given.json else table(result)


def _classifier(given: Namespace, *, memory_mb: float | None) -> Classifier:
    from etscnet_edge.classifier import Classifier

    return Classifier(
        given.exports,
        runtime=given.runtime,
        form=given.form,
        preprocessing=given.preprocessing,
        threads=given.threads,
        memory_mb=memory_mb,
        engines=given.engines,
        brain_extraction=given.brain_extraction or "none",
        mask_quality=given.mask_quality,
    )


def _present(given: Namespace, **options: str) -> dict[str, str]:
    """Modality -> file, of the options that were given."""
    files = {modality: getattr(given, option) for modality, option in options.items()}
    return {modality: file for modality, file in files.items() if file is not None}


HANDLERS: dict[str, Callable[[Namespace], str | None]] = {
    "predict": predict,
    "serve": serve,
    "build": build,
    "benchmark": benchmark,
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a verb; a fault in the input is one line on stderr.

    Args:
        arguments: what was typed; None: of this process.

    Raises:
        SystemExit: unless it is done: `options.STATUSES`.
    """
    verb, *words = (sys.argv[1:] if arguments is None else arguments) or ["--help"]
    if verb in ("-h", "--help"):
        print(overview())
        return
    if verb not in VERBS:
        said = f"error: etscnet-edge: no verb {verb}{nearest(verb, list(VERBS))} (--help lists them)"
        print(said, file=sys.stderr)
        raise SystemExit(2)
    given = VERBS[verb].read(words)
    try:
        text = HANDLERS[verb](given)
    except (InputError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    if text is not None:
        print(text)


if __name__ == "__main__":
    main()
