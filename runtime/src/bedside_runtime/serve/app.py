"""The routes, public and admin. What they do is asked of the service; how they fail stands in `problems`."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bedside_runtime import __version__
from bedside_runtime.serve import bodies, inference, openapi, plain
from bedside_runtime.serve.boundary import Boundary, head, request_id
from bedside_runtime.serve.lifecycle import Lifecycle
from bedside_runtime.serve.metrics import CONTENT_TYPE, Metrics
from bedside_runtime.serve.predicting import Asked, Loaded, Predictions
from bedside_runtime.serve.problems import Problem, response

Handler = Callable[[Request], Awaitable[Response]]


class Application:
    """The two ASGI applications of one process."""

    def __init__(self, lifecycle: Lifecycle, metrics: Metrics, predictions: Predictions) -> None:
        self._lifecycle = lifecycle
        self._metrics = metrics
        self._predictions = predictions
        wall = [Middleware(Boundary, metrics=metrics, predictions=predictions)]
        probes = [
            *(Route(path, self._live) for path in ("/health", "/livez")),
            *(Route(path, self._startup) for path in ("/startup", "/startupz")),
            *(Route(path, self._ready) for path in ("/ready", "/readyz")),
        ]
        model = "/v2/models/{model}"
        public = [
            *probes,
            Route("/predict", self._predict, methods=["POST"]),
            Route("/model", self._model),
            Route("/openapi.json", self._openapi),
            Route("/v2", self._v2),
            Route("/v2/health/live", self._live),
            Route("/v2/health/ready", self._ready),
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
        admin = [*probes, Route("/metrics", self._exposition)]
        handlers: Any = {HTTPException: _not_routed}
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
        reply = await self._predictions.answer(Asked(request.scope["route"].path, named, fields, body, received))
        return Response(reply.body, reply.status, dict(reply.more), reply.media_type)

    def _named(self, request: Request) -> Loaded:
        return self._predictions.named(request.path_params["model"], request.path_params.get("version"))

    # -- probes

    async def _live(self, _request: Request) -> Response:
        return _json({"status": "live", "reason": "live", "live": True})

    async def _startup(self, _request: Request) -> Response:
        started = self._lifecycle.started()
        reason = "started" if started else self._lifecycle.readiness().reason
        return _json({"status": str(self._lifecycle.state), "reason": reason}, 200 if started else 503)

    async def _ready(self, _request: Request) -> Response:
        readiness = self._lifecycle.readiness()
        recorder = self._predictions.recorder
        audit = recorder.detail if recorder is not None else "none"
        body = {"status": readiness.status, "reason": readiness.reason, "ready": readiness.ready, "audit": audit}
        return _json(body, 200 if readiness.ready else 503)

    # -- descriptions

    async def _model(self, _request: Request) -> Response:
        loaded = self._predictions.serving()
        service = loaded.service
        contract = service.contract
        return _json(
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
        contract = self._predictions.serving().service.contract
        if not contract.serve.openapi:
            raise Problem("not-found")
        return _json(openapi.document(contract))

    async def _v2(self, _request: Request) -> Response:
        return _json({"name": "bedside", "version": __version__, "extensions": ["binary_tensor_data"]})

    async def _v2_model(self, request: Request) -> Response:
        return _json(inference.metadata(self._named(request).service.contract))

    async def _v2_ready(self, request: Request) -> Response:
        self._named(request)
        return await self._ready(request)

    async def _exposition(self, _request: Request) -> Response:
        return Response(self._metrics.exposition(), media_type=CONTENT_TYPE)


def _json(value: object, status: int = 200) -> Response:
    return Response(msgspec.json.encode(value), status, media_type="application/json")


async def _not_routed(request: Request, error: Exception) -> Response:
    """Answer what no route takes."""
    status = getattr(error, "status_code", 404)
    headers = getattr(error, "headers", None) or {}
    code = "method-not-allowed" if status == 405 else "not-found"
    return response(Problem(code, headers=headers), request_id(request))
