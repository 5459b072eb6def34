"""The routes: studies in, scores out. What a route takes and gives stands here; how, in the modules beside it."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from etscnet_edge import __version__
from etscnet_edge.classifier import Classifier
from etscnet_edge.server.access import Access, CheckAccess
from etscnet_edge.server.body import AnswerAfterBody, BodyLimits, read_body, read_files
from etscnet_edge.server.faults import Refused, answer_fault, answer_http_error, answer_refused
from etscnet_edge.server.service import MODEL, VERSION, Service, Worked
from etscnet_edge.server.tensors import LENGTH, format_response, largest_request, parse_request
from etscnet_edge.source import Source

PAGE = Path(str(files("etscnet_edge"))) / "page"
NO_PAGE = """<!doctype html><html lang="en"><title>eTSC-Net</title><p>Research only, not for diagnosis.</p>
<p>This installation has no page: it is made by <code>make edge-wheel</code>. The server works without it.</p>
"""
Files = dict[str, Source]


def make_app(service: Service, *, limits: BodyLimits, access: Access) -> Starlette:
    """The ASGI application.

    Args:
        service: the model, which begins to load when the application starts.
        limits: of a request's body.
        access: who may ask.
    """
    routes = [
        Route("/", _page),
        Route("/metrics", _metrics),
        Route("/v1/studies", _studies, methods=["POST"]),
        Route("/v2", _server_metadata),
        Route("/v2/health/live", _live),
        Route("/v2/health/ready", _ready),
        Route("/v2/models/stats", _stats),
    ]
    for path in (f"/v2/models/{MODEL}", f"/v2/models/{MODEL}/versions/{VERSION}"):
        routes += [
            Route(path, _model_metadata),
            Route(f"{path}/config", _model_config),
            Route(f"{path}/ready", _ready),
            Route(f"{path}/stats", _stats),
            Route(f"{path}/infer", _infer, methods=["POST"]),
        ]
    static = Mount("/page", StaticFiles(directory=PAGE, check_dir=False))  # it may not have been built

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        service.start()
        yield
        service.stop()

    app = Starlette(
        routes=[*routes, static],
        middleware=[
            Middleware(AnswerAfterBody, limits=limits, closed=service.jobs.closed),
            Middleware(CheckAccess, access=access),
        ],
        exception_handlers={Refused: answer_refused, HTTPException: answer_http_error, Exception: answer_fault},
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False  # a redirect would say the Host that it was given
    app.state.service, app.state.limits = service, limits
    return app


async def _studies(request: Request) -> Response:
    """A multipart form of NIfTI files, one a modality, with a mask for each or none -> the JSON of `predict`."""
    service, limits = _service(request), request.app.state.limits

    async def read(classifier: Classifier) -> tuple[Files, Files]:
        modalities = classifier.manifest.modalities
        names = [*modalities, *(f"{name}_mask" for name in modalities)]
        found = await read_files(request, limits, service.jobs.closed, names=names)
        images = {name: found[name] for name in modalities if name in found}
        masks = {name: found[f"{name}_mask"] for name in modalities if f"{name}_mask" in found}
        if set(images) != set(modalities) or set(masks) not in (set(), set(modalities)):
            raise Refused(400, f"The form has {sorted(found)}; expected {modalities}, and a mask for each or for none.")
        return images, masks

    def work(classifier: Classifier, study: tuple[Files, Files]) -> Worked:
        prediction = classifier.predict(*study)
        spent = prediction.milliseconds
        response = JSONResponse(prediction.to_dict())
        before = spent["read"] + spent["brain_extraction"] + spent["preprocess"]
        return Worked(response, before / 1e3, spent["network"] / 1e3)

    return await service.answer(request, read, work)


async def _infer(request: Request) -> Response:
    """A prepared image as a tensor of the Open Inference Protocol v2 -> "pred" and "branch_scores"."""
    service, limits = _service(request), request.app.state.limits
    json_length = request.headers.get(LENGTH)

    async def read(classifier: Classifier) -> bytes:
        most, remedy = largest_request(classifier.manifest.said["inputs"]["image"]["shape"], json_length)
        narrower = BodyLimits(min(limits.size, most), limits.seconds, remedy)
        return await read_body(request, narrower, service.jobs.closed)

    def work(classifier: Classifier, body: bytes) -> Worked:
        start = time.perf_counter()
        said = classifier.manifest.said
        shapes = {name: tensor["shape"] for name, tensor in said["outputs"].items()}
        asked = parse_request(body, json_length, shape=said["inputs"]["image"]["shape"], outputs=list(shapes))
        parsed = time.perf_counter()
        score, branches = classifier.score(asked.image)
        ran = time.perf_counter()
        tensors = {
            "pred": np.array([[score]], dtype=np.float32),
            "branch_scores": np.array([list(branches.values())], dtype=np.float32),
        }
        head: dict[str, Any] = {"model_name": MODEL, "model_version": VERSION, "parameters": classifier.verdict(score)}
        if asked.name is not None:
            head["id"] = asked.name
        content, length = format_response(head, tensors, asked.binary)
        raw = length < len(content)
        kind = "application/octet-stream" if raw else "application/json"
        response = Response(content, media_type=kind, headers={LENGTH: str(length)} if raw else None)
        return Worked(response, parsed - start, ran - parsed)

    return await service.answer(request, read, work)


async def _server_metadata(request: Request) -> Response:
    extensions = ["binary_tensor_data", "model_configuration", "statistics"]
    return JSONResponse({"name": "etscnet-edge", "version": __version__, "extensions": extensions})


async def _model_metadata(request: Request) -> Response:
    classifier = _service(request).classifier
    said = classifier.manifest.said
    tensors = {
        kind: [{"name": name, "datatype": "FP32", "shape": tensor["shape"]} for name, tensor in said[kind].items()]
        for kind in ("inputs", "outputs")
    }
    parameters = {
        "model_version": said["version"],
        "modalities": classifier.manifest.modalities,
        "threshold": said["threshold"],
        "brain_extraction": classifier.brain_extraction,
        "intended_use": said["intended_use"],
        "warnings": said["warnings"],
    }
    return JSONResponse(
        {"name": MODEL, "versions": [VERSION], "platform": classifier.platform, **tensors, "parameters": parameters}
    )


async def _model_config(request: Request) -> Response:
    """What Triton's clients ask for beside the protocol."""
    classifier = _service(request).classifier
    tensors = {
        kind[:-1]: [
            {"name": name, "data_type": "TYPE_FP32", "dims": tensor["shape"]}
            for name, tensor in classifier.manifest.said[kind].items()
        ]
        for kind in ("inputs", "outputs")
    }
    return JSONResponse({"name": MODEL, "platform": classifier.platform, "max_batch_size": 0, **tensors})


async def _live(request: Request) -> Response:
    return Response()


async def _ready(request: Request) -> Response:
    return Response(status_code=200 if _service(request).ready else 503)


async def _stats(request: Request) -> Response:
    return JSONResponse(_service(request).statistics.to_dict())


async def _metrics(request: Request) -> Response:
    content = _service(request).statistics.exposition()
    return Response(content, media_type="text/plain; version=0.0.4; charset=utf-8")


async def _page(request: Request) -> Response:
    index = PAGE / "index.html"
    return FileResponse(index) if index.is_file() else HTMLResponse(NO_PAGE)


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service
