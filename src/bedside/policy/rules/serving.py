"""What the serving code answers, says and lets through; read from the syntax tree."""

import ast
from collections.abc import Iterator

from bedside.policy.applications import Application, Function, Route, calls, dotted, keyword, name_of, text_of
from bedside.policy.picture import Picture
from bedside.policy.place import Hit

_UNSAFE_LOADS = (
    "joblib.load",
    "pickle.load",
    "pickle.loads",
    "cloudpickle.load",
    "dill.load",
    "torch.load",
    "pd.read_pickle",
    "pandas.read_pickle",
)
_SLOW_LOADS = (
    *_UNSAFE_LOADS,
    "load_model",
    "mlflow.pyfunc.load_model",
    "mlflow.sklearn.load_model",
    "keras.models.load_model",
)
_CHECKS = ("sha256", "sha384", "sha512", "blake2b", "blake3", "compare_digest", "file_digest", "verify", "new_sha256")


def handlers(app: Application) -> Iterator[tuple[Route, Function]]:
    """Routes with the functions that answer them."""
    for route in app.routes:
        if route.handler is not None:
            yield route, route.handler


def own_nodes(function: Function) -> Iterator[ast.AST]:
    """Everything in a function that is not in a function inside it."""
    waiting: list[ast.AST] = list(ast.iter_child_nodes(function))
    while waiting:
        node = waiting.pop()
        yield node
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            waiting += list(ast.iter_child_nodes(node))


def tuple_status(picture: Picture) -> Iterator[Hit]:
    """FastAPI and Starlette take ``return body, 503`` for a body of two parts and answer 200."""
    for app in picture.applications:
        for _, handler in handlers(app) if app.framework != "flask" else ():
            for node in own_nodes(handler):
                value = node.value if isinstance(node, ast.Return) else None
                if isinstance(value, ast.Tuple) and len(value.elts) == 2 and _is_status(value.elts[1]):
                    yield Hit(app.at(value), f"{handler.name} answers 200 with the status inside the body")


def _is_status(node: ast.expr) -> bool:
    if isinstance(node, ast.Constant):
        return isinstance(node.value, int) and 100 <= node.value < 600
    return name_of(node).startswith("HTTP_")


def zero_self_test(picture: Picture) -> Iterator[Hit]:
    """A self-test on zeros passes with any model that loads: zeros are no patient."""
    for app in picture.applications:
        for call in app.calls:
            if name_of(call.func) in ("predict", "predict_proba") and call.args and _constant_input(app, call.args[0]):
                yield Hit(app.at(call), "the model is tested on constant input, which any model passes")


def _constant_input(app: Application, node: ast.expr) -> bool:
    if isinstance(node, ast.Name):
        values = [
            a.value
            for a in app.nodes
            if isinstance(a, ast.Assign) and any(isinstance(t, ast.Name) and t.id == node.id for t in a.targets)
        ]
        return len(values) == 1 and _constant_input_value(values[0])
    return _constant_input_value(node)


def _constant_input_value(node: ast.expr) -> bool:
    if isinstance(node, ast.Call):
        named = name_of(node.func)
        return named in ("zeros", "ones", "zeros_like", "full") or (
            named in ("array", "DataFrame", "asarray", "reshape")
            and bool(node.args)
            and _constant_input_value(node.args[0])
        )
    if isinstance(node, ast.BinOp):
        return _constant_input_value(node.left)
    if isinstance(node, ast.List | ast.Tuple):
        return bool(node.elts) and all(_constant_input_value(item) for item in node.elts)
    return isinstance(node, ast.Constant) and node.value in (0, 0.0)


def exception_text(picture: Picture) -> Iterator[Hit]:
    """Exception text carries values: of the patient, of paths, of the library."""
    for app in picture.applications:
        for handler in (node for node in app.nodes if isinstance(node, ast.ExceptHandler) and node.name):
            for node in ast.walk(handler):
                answer = _answer(node)
                if answer is not None and handler.name and _says(answer, handler.name):
                    yield Hit(app.at(handler), "the text of an exception is put into an answer")
                    break


def _answer(node: ast.AST) -> ast.AST | None:
    if isinstance(node, ast.Return):
        return node.value
    if isinstance(node, ast.Call) and name_of(node.func) in (
        "HTTPException",
        "JSONResponse",
        "jsonify",
        "abort",
        "Response",
        "PlainTextResponse",
    ):
        return node
    return None


def _says(answer: ast.AST, name: str) -> bool:
    for node in ast.walk(answer):
        if isinstance(node, ast.FormattedValue) and isinstance(node.value, ast.Name) and node.value.id == name:
            return True
        called = name_of(node.func) if isinstance(node, ast.Call) else ""
        given = node.args if isinstance(node, ast.Call) else []
        if called == "format_exc" or (called in ("str", "repr") and any(name_of(item) == name for item in given)):
            return True
    return False


def blocking_load(picture: Picture) -> Iterator[Hit]:
    """Loading inside an async start hook: nothing answers, not even liveness, until it is done."""
    for app in picture.applications:
        for hook in app.start_hooks:
            for node in own_nodes(hook) if isinstance(hook, ast.AsyncFunctionDef) else ():
                if isinstance(node, ast.Call) and (dotted(node.func) in _SLOW_LOADS or _loads(app, node)):
                    yield Hit(
                        app.at(node),
                        f"{hook.name} loads the model on the event loop, before the server answers anything",
                    )


def _loads(app: Application, call: ast.Call) -> bool:
    """Whether it calls a plain function of this file that loads a model."""
    function = app.functions.get(name_of(call.func)) if isinstance(call.func, ast.Name) else None
    return isinstance(function, ast.FunctionDef) and any(dotted(inner.func) in _SLOW_LOADS for inner in calls(function))


def silent_hooks(picture: Picture) -> Iterator[Hit]:
    """``on_event`` beside a lifespan is never called, and current Starlette does not have it at all."""
    for app in picture.applications:
        lifespan = any(keyword(call, "lifespan") is not None for call in app.constructors)
        for function in app.functions.values():
            for decorator in function.decorator_list:
                if (
                    isinstance(decorator, ast.Call)
                    and name_of(decorator.func) == "on_event"
                    and app.framework != "flask"
                ):
                    why = (
                        "is never called beside a lifespan"
                        if lifespan
                        else "is gone from current Starlette and then not called"
                    )
                    yield Hit(app.at(decorator), f"the start hook {function.name} {why}")
                if name_of(decorator) == "before_first_request":
                    yield Hit(app.at(decorator), f"the start hook {function.name} is gone from Flask since 2.3")


def blocked_liveness(picture: Picture) -> Iterator[Hit]:
    """A liveness answer that waits behind predictions: a busy server is restarted for being busy."""
    for app in picture.applications:
        if app.framework == "flask":
            continue
        predicting = [function for route, function in handlers(app) if route.predicts and not route.health]
        blocks = [f for f in predicting if isinstance(f, ast.AsyncFunctionDef) and _computes(f)]
        for blocking in blocks:
            yield Hit(app.at(blocking), f"{blocking.name} predicts on the event loop, and liveness waits behind it")
        pooled = [f for f in predicting if isinstance(f, ast.FunctionDef)]
        for route, function in handlers(app):
            if route.health == "liveness" and pooled and isinstance(function, ast.FunctionDef):
                yield Hit(app.at(function), f"{function.name} takes a thread of the same pool that predictions wait in")


def _computes(function: Function) -> bool:
    awaited = {id(call) for node in ast.walk(function) if isinstance(node, ast.Await) for call in calls(node)}
    return any(
        isinstance(node, ast.Call)
        and name_of(node.func) in ("predict", "predict_proba", "decision_function", "inplace_predict")
        and id(node) not in awaited
        for node in own_nodes(function)
    )


def unverified_load(picture: Picture) -> Iterator[Hit]:
    """Unpickling runs the file's own code: whoever can change the file can run anything."""
    for app in picture.applications:
        names = {name_of(call.func) for call in app.calls}
        for call in app.calls:
            name = dotted(call.func)
            safe = name == "torch.load" and getattr(keyword(call, "weights_only"), "value", None) is True
            if name in _UNSAFE_LOADS and not safe and not names & set(_CHECKS):
                yield Hit(app.at(call), f"{name} runs code from the file, and nothing compares the file's digest first")


def open_docs(picture: Picture) -> Iterator[Hit]:
    """Interactive documentation on the public port is a map and a form for everyone."""
    for app in picture.applications:
        for call in app.constructors:
            if name_of(call.func) != "FastAPI":
                continue
            off = [keyword(call, name) for name in ("docs_url", "openapi_url")]
            closed = any(isinstance(value, ast.Constant) and value.value is None for value in off[1:]) or all(
                value is not None for value in off
            )
            pages = [keyword(call, name) for name in ("docs_url", "redoc_url")]
            bare = all(isinstance(value, ast.Constant) and value.value is None for value in pages)
            if not closed:
                what = "schema at /openapi.json" if bare else "documentation and schema"
                yield Hit(app.at(call), f"the application publishes its {what}")


def no_authentication(picture: Picture) -> Iterator[Hit]:
    """Whoever reaches the port gets predictions, and may ask for any patient."""
    guarded = any(_reads_credentials(app) for app in picture.applications if app.constructors)
    for app in picture.applications:
        part = not app.constructors and guarded  # a router, in an application that asks elsewhere
        if part or _reads_credentials(app) or _guarded_by_mesh(picture):
            continue
        for route, function in handlers(app):
            asks = any(arg.arg in ("authorization", "x_api_key", "api_key", "token") for arg in function.args.args)
            if route.predicts and "POST" in route.methods and not asks:
                yield Hit(app.at(function), f"{function.name} answers whoever asks")


GUARDS = (
    *("Depends", "Security", "HTTPBearer", "APIKeyHeader", "AuthenticationMiddleware"),
    *("login_required", "jwt_required", "requires", "token_required"),
)


def _reads_credentials(app: Application) -> bool:
    """Whether anything in the file uses a guard, or asks for the header that carries a credential."""
    for node in app.nodes:
        if isinstance(node, ast.Name | ast.Attribute) and name_of(node) in GUARDS and not _powerless(app, node):
            return True
        if isinstance(node, ast.Constant) and str(node.value).lower() in ("authorization", "x-api-key"):
            return True
    return False


def _powerless(app: Application, guard: ast.Name | ast.Attribute) -> bool:
    """Whether every function of this file that a guard depends on lets everybody through: none raises or calls on."""
    if name_of(guard) not in ("Depends", "Security"):
        return False
    given = [call.args[0] for call in app.calls if call.func is guard and call.args]
    local = [app.functions[name_of(item)] for item in given if name_of(item) in app.functions]
    return bool(local) and len(local) == len(given) and not any(_refuses(function) for function in local)


def _refuses(function: Function) -> bool:
    harmless = (
        *("Path", "read_text", "strip", "get", "lower", "split", "encode", "decode", "getenv", "compare_digest"),
        *("len", "str", "int", "format", "debug", "info", "warning", "error"),
    )
    if any(isinstance(node, ast.Raise | ast.Assert) for node in ast.walk(function)):
        return True
    return any(name_of(call.func) not in harmless and not _is_parameter(function, call) for call in calls(function))


def _is_parameter(function: Function, call: ast.Call) -> bool:
    """Whether a call stands in the signature, as ``Header()`` does in an annotation."""
    signature = [function.args, *function.decorator_list]
    return any(node is call for part in signature for node in ast.walk(part))


def _guarded_by_mesh(picture: Picture) -> bool:
    return bool(picture.of("AuthorizationPolicy", "RequestAuthentication", "SecurityPolicy", "AuthConfig"))


def any_origin(picture: Picture) -> Iterator[Hit]:
    """Any web page that a clinician opens may then send requests from the hospital's network."""
    for app in picture.applications:
        for call in app.calls:
            origins = keyword(call, "allow_origins") or (
                keyword(call, "origins") if name_of(call.func) == "CORS" else None
            )
            if origins is not None and any(
                text_of(node) == "*" for node in ast.walk(origins) if isinstance(node, ast.expr)
            ):
                yield Hit(app.at(call), "any origin may call the application from a browser")
