"""The routes, public and admin. What they do is asked of the service; how they fail stands in `problems`."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bedside_runtime import __version__
from bedside_runtime.serve import bodies, inference, openapi, plain
from bedside_runtime.serve.boundary import Boundary, caller_of, head, request_id
from bedside_runtime.serve.metrics import CONTENT_TYPE, Metrics
from bedside_runtime.serve.predicting import Asked, Loaded, Predictions
from bedside_runtime.serve.probes import Probes, Report, json
from bedside_runtime.serve.problems import Problem, response

Handler = Callable[[Request], Awaitable[Response]]


class Application:
    """The two ASGI applications of one process."""

    def __init__(self, report: Callable[[], Report], metrics: Metrics, predictions: Predictions) -> None:
        self._probes = Probes(report)
        self._metrics = metrics
        self._predictions = predictions
        self._described: Loaded | None = None
        self._document: bytes | memoryview = b""  # of what is described
        wall = [Middleware(Boundary, metrics=metrics, predictions=predictions)]
        model = "/v2/models/{model}"
        public = [
            *self._probes.routes(),
            Route("/predict", self._predict, methods=["POST"]),
            Route("/model", self._model),
            Route("/openapi.json", self._openapi),
            Route("/v2", self._v2),
            Route("/v2/health/live", self._probes.live),
            Route("/v2/health/ready", self._probes.ready),
            *(
                Route(path, handler, methods=[method])
                for base in (model, f"{model}/versions/{{version}}")
                for path, handler, method in (
                    (base, self._v2_model, "GET"),
                    (f"{base}/ready", self._v2_ready, "GET"),
                    (f"{base}/infer", self._infer, "POST"),
                )
            ),
        ]
        admin = [*self._probes.routes(), Route("/metrics", self._exposition)]
        handlers: Any = {HTTPException: not_routed}
        self.public = Starlette(routes=public, middleware=wall, exception_handlers=handlers)
        self.admin = Starlette(routes=admin, middleware=wall, exception_handlers=handlers)
        self.public.router.redirect_slashes = self.admin.router.redirect_slashes = False

    # -- predictions: where the path has escapes or the connection is no `Connection`

    async def _predict(self, request: Request) -> Response:
        return await self._answer(request, None)

    async def _infer(self, request: Request) -> Response:
        named = request.path_params
        return await self._answer(request, (named["model"], named.get("version")))

    async def _answer(self, request: Request, named: tuple[str, str | None] | None) -> Response:
        received = asyncio.get_running_loop().time()
        body = await bodies.read(request, self._predictions.serving().service.contract.serve.max_body)
        fields = {**head(request), b"x-request-id": request_id(request).encode()}
        route, identity = request.scope["route"].path, caller_of(request).identity
        reply = await self._predictions.answer(Asked(route, named, fields, received, body, identity))
        return Response(reply.body, reply.status, dict(reply.more), reply.media_type)

    def _named(self, request: Request) -> Loaded:
        return self._predictions.named(request.path_params["model"], request.path_params.get("version"))

    # -- descriptions

    async def _model(self, _request: Request) -> Response:
        loaded = self._predictions.serving()
        service = loaded.service
        contract = service.contract
        return json(
            {
                **plain.release(contract, service.digest),
                "title": contract.title,
                "framework": contract.model.framework,
                "runtime": __version__,
                "inputs": contract.inputs,
                "output": contract.output,
                "golden": contract.golden,
                "audit": contract.audit,
                "card": loaded.card,
            }
        )

    async def _openapi(self, _request: Request) -> Response:
        loaded = self._predictions.serving()
        contract = loaded.service.contract
        if not contract.serve.openapi:
            raise Problem("not-found")
        if self._described is not loaded:
            self._described, self._document = loaded, json(openapi.document(contract)).body
        return Response(self._document, media_type="application/json")

    async def _v2(self, _request: Request) -> Response:
        return json({"name": "bedside", "version": __version__, "extensions": ["binary_tensor_data"]})

    async def _v2_model(self, request: Request) -> Response:
        return json(inference.metadata(self._named(request).service.contract))

    async def _v2_ready(self, request: Request) -> Response:
        self._named(request)
        return await self._probes.ready(request)

    async def _exposition(self, _request: Request) -> Response:
        return Response(self._metrics.exposition(), media_type=CONTENT_TYPE)


async def not_routed(request: Request, error: Exception) -> Response:
    """Answer what no route takes."""
    status = getattr(error, "status_code", 404)
    headers = getattr(error, "headers", None) or {}
    code = "method-not-allowed" if status == 405 else "not-found"
    return response(Problem(code, headers=headers), request_id(request))
