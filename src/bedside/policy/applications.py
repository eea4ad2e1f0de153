"""A Python serving file as its routes and handlers, read from the syntax tree and never imported."""

import ast
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

from bedside.policy.place import Place

Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef

FRAMEWORKS = ("fastapi", "flask", "starlette")
_METHODS = ("get", "post", "put", "delete", "patch", "head", "options", "route", "api_route")


class NotPython(ValueError):
    """The text is no Python that this interpreter can parse."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line


@dataclass(frozen=True)
class Route:
    """One route. ``path`` has its router's prefix; ``methods`` are upper case."""

    path: str
    methods: tuple[str, ...]
    handler: Function | None
    place: Place

    @property
    def predicts(self) -> bool:
        """Whether its path or handler is named like a prediction."""
        words = f"{self.path} {self.handler.name if self.handler else ''}".lower()
        return any(word in words for word in ("predict", "infer", "score", "risk"))

    @property
    def health(self) -> str:
        """``liveness``, ``readiness`` or empty, by the names that probes commonly have."""
        path = self.path.lower().rstrip("/")
        if path.endswith(("/ready", "/readyz", "/readiness", "/startup", "/startupz")):
            return "readiness"
        return "liveness" if path.endswith(("/health", "/healthz", "/live", "/livez", "/liveness")) else ""


@dataclass(frozen=True)
class Application:
    """One file that makes a web application.

    Attributes:
        framework: Which of ``FRAMEWORKS`` it imports first.
        routes: In order.
        complete: Whether all of its routes could be told; of what is taken in from elsewhere, the prefix is enough.
        constructors: The calls that make the application.
    """

    path: str
    framework: str
    tree: ast.Module
    routes: tuple[Route, ...]
    complete: bool
    constructors: tuple[ast.Call, ...]

    def at(self, node: ast.stmt | ast.expr | ast.ExceptHandler) -> Place:
        """Where a node of its tree stands."""
        return Place(self.path, node.lineno, node.end_lineno or node.lineno)

    @cached_property
    def nodes(self) -> tuple[ast.AST, ...]:
        """Every node of its tree."""
        return tuple(ast.walk(self.tree))

    @cached_property
    def calls(self) -> tuple[ast.Call, ...]:
        """Every call in it."""
        return tuple(node for node in self.nodes if isinstance(node, ast.Call))

    @cached_property
    def functions(self) -> dict[str, Function]:
        """Every function by name."""
        return {node.name: node for node in self.nodes if isinstance(node, Function)}

    @cached_property
    def constants(self) -> dict[str, set[str]]:
        """Texts that names are given, as they are or as a path."""
        found: dict[str, set[str]] = {}
        for node in self.nodes:
            if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
                path = (
                    node.value.args if isinstance(node.value, ast.Call) and name_of(node.value.func) == "Path" else []
                )
                text = text_of(path[0] if path else node.value)
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                for target in (one for one in targets if isinstance(one, ast.Name) and text):
                    found.setdefault(target.id, set()).add(text or "")
        return found

    @cached_property
    def start_hooks(self) -> tuple[Function, ...]:
        """Functions that run before the first request is answered: lifespans and start-up hooks."""
        named = {
            keyword.value.id
            for call in self.constructors
            for keyword in call.keywords
            if keyword.arg == "lifespan" and isinstance(keyword.value, ast.Name)
        }
        hooks = [node for node in self.functions.values() if node.name in named or _is_event_hook(node)]
        return tuple(hooks)


def parse_module(text: str) -> ast.Module:
    """Parse Python.

    Raises:
        NotPython: A syntax error, a null byte, or nesting deeper than the parser goes.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(text)
    except SyntaxError as error:
        running = f"{sys.version_info.major}.{sys.version_info.minor}"
        raise NotPython(
            error.lineno or 0, f"not Python as {running}, which runs this check, reads it: {error.msg}"
        ) from None
    except (ValueError, RecursionError, MemoryError):
        raise NotPython(0, "not Python: a null byte, or nested deeper than the parser goes") from None


def application(tree: ast.Module, path: str) -> Application | None:
    """What ``tree`` serves, ``None`` where it serves nothing."""
    framework = next((name for name in FRAMEWORKS if name in imported(tree)), None)
    if framework is None:
        return None
    constructors = tuple(
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and name_of(node.func) in ("FastAPI", "Flask", "Starlette")
    )
    routes = tuple(_routes(tree, path))
    if not constructors and not routes:
        return None
    taken_in = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and name_of(node.func) in _TAKING_IN]
    below = [(_prefix_of(call), call) for call in taken_in]
    routes += tuple(_everything_below(prefix, call, path) for prefix, call in below if prefix is not None)
    complete = all(prefix is not None for prefix, _ in below)
    return Application(path, framework, tree, routes, complete, constructors)


_TAKING_IN = ("include_router", "mount", "Mount", "register_blueprint")


def _prefix_of(call: ast.Call) -> str | None:
    """Where a router, blueprint or application is taken in; ``None`` where the call does not say."""
    if name_of(call.func) in ("mount", "Mount"):
        return text_of(call.args[0]) if call.args else text_of(keyword(call, "path"))
    return text_of(keyword(call, "prefix")) or text_of(keyword(call, "url_prefix"))


def _everything_below(prefix: str, call: ast.Call, path: str) -> Route:
    methods = ("GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS")
    return Route(prefix.rstrip("/") + "/{rest:path}", methods, None, Place(path, call.lineno, call.end_lineno or 0))


def imported(tree: ast.Module) -> set[str]:
    """Top-level names of all imported modules."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
    return found


def name_of(node: ast.expr) -> str:
    """The last part of a dotted name: ``load`` of ``joblib.load``; empty for anything else."""
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def dotted(node: ast.expr) -> str:
    """A dotted name in full, ``joblib.load``; empty where it is not made of names alone."""
    if isinstance(node, ast.Attribute):
        before = dotted(node.value)
        return f"{before}.{node.attr}" if before else node.attr
    return node.id if isinstance(node, ast.Name) else ""


def calls(node: ast.AST) -> Iterator[ast.Call]:
    """Every call inside."""
    return (child for child in ast.walk(node) if isinstance(child, ast.Call))


def keyword(call: ast.Call, name: str) -> ast.expr | None:
    """The value of a keyword argument."""
    return next((item.value for item in call.keywords if item.arg == name), None)


def text_of(node: ast.expr | None) -> str | None:
    """The value of a string constant."""
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def _is_event_hook(function: Function) -> bool:
    return any(
        isinstance(decorator, ast.Call)
        and name_of(decorator.func) == "on_event"
        and decorator.args
        and text_of(decorator.args[0]) == "startup"
        for decorator in function.decorator_list
    )


def _routes(tree: ast.Module, path: str) -> Iterator[Route]:
    prefixes = _prefixes(tree)
    for node in ast.walk(tree):
        if isinstance(node, Function):
            for decorator in node.decorator_list:
                route = _decorated(decorator, node, prefixes, path)
                if route is not None:
                    yield route
        elif isinstance(node, ast.Call) and name_of(node.func) in (
            "Route",
            "add_api_route",
            "add_route",
            "add_url_rule",
        ):
            text = text_of(node.args[0]) if node.args else text_of(keyword(node, "path"))
            if text is not None:
                yield Route(
                    text, _listed_methods(node) or ("GET",), None, Place(path, node.lineno, node.end_lineno or 0)
                )


def _decorated(decorator: ast.expr, function: Function, prefixes: dict[str, str], path: str) -> Route | None:
    if not (isinstance(decorator, ast.Call) and isinstance(decorator.func, ast.Attribute)):
        return None
    verb = decorator.func.attr
    text = text_of(decorator.args[0]) if decorator.args else text_of(keyword(decorator, "path"))
    if verb not in _METHODS or text is None or not (text.startswith("/") or not text):
        return None
    methods = _listed_methods(decorator) or (("GET",) if verb.endswith("route") else (verb.upper(),))
    prefix = prefixes.get(name_of(decorator.func.value), "")
    return Route(prefix + text, methods, function, Place(path, function.lineno, function.end_lineno or 0))


def _listed_methods(call: ast.Call) -> tuple[str, ...]:
    listed = keyword(call, "methods")
    if not isinstance(listed, ast.List | ast.Tuple | ast.Set):
        return ()
    return tuple(text.upper() for item in listed.elts if (text := text_of(item)))


def _prefixes(tree: ast.Module) -> dict[str, str]:
    found: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call):
            prefix = text_of(keyword(node.value, "prefix")) or text_of(keyword(node.value, "url_prefix"))
            if prefix:
                found |= {target.id: prefix for target in node.targets if isinstance(target, ast.Name)}
    return found
