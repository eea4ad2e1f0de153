"""The routes, public and admin. What they do is asked of the service; how they fail stands in `problems`."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bedside_runtime import __version__
from bedside_runtime.inputs import InputDecoder
from bedside_runtime.serve import bodies, inference, openapi, plain
from bedside_runtime.serve.boundary import Boundary, request_id
from bedside_runtime.serve.lifecycle import Lifecycle
from bedside_runtime.serve.logs import EventLog
from bedside_runtime.serve.metrics import CONTENT_TYPE, Metrics
from bedside_runtime.serve.problems import Problem, not_ready, response
from bedside_runtime.service import Caller, Prediction, PredictionService, Recorder, Refused

Handler = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Loaded:
    """What the routes need once a release is loaded: the service, its decoder, its card."""

    service: PredictionService
    decoder: InputDecoder
    card: Any


class Application:
    """The two ASGI applications of one process. ``loaded`` is set once, before the lifecycle says ready."""

    def __init__(self, lifecycle: Lifecycle, metrics: Metrics, log: EventLog) -> None:
        self.loaded: Loaded | None = None
        self._lifecycle = lifecycle
        self._metrics = metrics
        wall = [Middleware(Boundary, metrics=metrics, log=log, on_refused=self._refused)]
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

    # -- predictions

    async def _predict(self, request: Request) -> Response:
        loaded = self._serving()
        contract = loaded.service.contract
        if bodies.media_type(request) != "application/json":
            raise Problem("media-type")
        data = await bodies.read(request, contract.serve.max_body)
        instances = plain.decode(data, contract.serve.max_instances)
        identity = request_id(request)
        predictions = await self._answer(loaded, instances, identity)
        body = plain.encode(identity, contract, loaded.service.digest, predictions)
        return Response(body, media_type="application/json")

    async def _infer(self, request: Request) -> Response:
        loaded = self._named(request)
        contract = loaded.service.contract
        if bodies.media_type(request) not in ("", "application/json", "application/octet-stream"):
            raise Problem("media-type")
        data = await bodies.read(request, contract.serve.max_body)
        asked = inference.decode(data, request.headers.get("inference-header-content-length"), contract)
        identity = request_id(request)
        predictions = await self._answer(loaded, asked.instances, identity)
        body, headers = inference.encode(asked, identity, contract, loaded.service.digest, predictions)
        return Response(body, headers=headers)

    async def _answer(self, loaded: Loaded, instances: list[Any], identity: str) -> tuple[Prediction, ...]:
        rows = loaded.decoder.rows(instances)
        predictions = await loaded.service.predict(rows, Caller(identity))
        self._metrics.answered(predictions)
        return predictions

    def _recorder(self) -> Recorder | None:
        return self.loaded.service.recorder if self.loaded is not None else None

    async def _refused(self, refused: Refused) -> None:
        recorder = self._recorder()
        if recorder is not None:
            await recorder.refused(refused)

    def _serving(self) -> Loaded:
        """Return what answers predictions; that is so while draining too."""
        if self.loaded is None or self._lifecycle.service is None:
            raise not_ready(self._lifecycle.readiness().reason)
        return self.loaded

    def _named(self, request: Request) -> Loaded:
        loaded = self._serving()
        contract = loaded.service.contract
        named = request.path_params["model"], request.path_params.get("version", contract.version)
        if named != (contract.name, contract.version):
            raise Problem("unknown-model")
        return loaded

    # -- probes

    async def _live(self, _request: Request) -> Response:
        return _json({"status": "live", "reason": "live", "live": True})

    async def _startup(self, _request: Request) -> Response:
        started = self._lifecycle.started()
        reason = "started" if started else self._lifecycle.readiness().reason
        return _json({"status": str(self._lifecycle.state), "reason": reason}, 200 if started else 503)

    async def _ready(self, _request: Request) -> Response:
        readiness = self._lifecycle.readiness()
        recorder = self._recorder()
        audit = recorder.detail if recorder is not None else "none"
        body = {"status": readiness.status, "reason": readiness.reason, "ready": readiness.ready, "audit": audit}
        return _json(body, 200 if readiness.ready else 503)

    # -- descriptions

    async def _model(self, _request: Request) -> Response:
        loaded = self._serving()
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
        contract = self._serving().service.contract
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
