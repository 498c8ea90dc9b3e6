"""Who may import whom, who may write, how long things may get: the rules a machine can check."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "shipwrightd"
FUNCTION_LINES = 50
MODULE_LINES = 600
FILES = sorted(PACKAGE.rglob("*.py"))
NAMES = [str(file.relative_to(PACKAGE)) for file in FILES]

BASE = {
    "__init__",
    "clock",
    "errors",
    "log",
    "table",
    "text",
}  # modules of the top folder that every package may import

# Which packages a package may import; the base modules always. `cli` may import all of them.
READS = {"database"}
PACKAGES: dict[str, set[str]] = {
    "config": {"database"},
    "database": set(),
    "decoding": set(),
    "journals": {"database", "decoding", "projections"},
    "documents": {"database", "decoding", "journals", "projections"},
    "projections": {"decoding"},
    "recovery": {"database", "decoding", "documents", "journals", "projections"},
    "daemon": {"config", "database", "documents", "journals", "projections", "recovery"},
    # an import stores what the files hold first (daemon); each command finishes an interrupted recovery
    "maintenance": {"daemon", "database", "decoding", "documents", "journals", "projections", "recovery"},
    "reports": READS,
    "dashboard": READS | {"reports"},
    "status": READS,
    "export": READS | {"reports"},
    "doctor": READS | {"config", "export", "service", "status"},
    "monitoring": {"config", "daemon", "status"},
    "service": set(),
}
OUTSIDE = {"apsw", "orjson", "prometheus_client", "rich", "structlog", "typer", "watchdog"}
PURE_OF_FILES = {
    "decoding/events.py",
    "decoding/salvage.py",
    "decoding/exact_json.py",
    "decoding/damaged_record.py",
    "decoding/__init__.py",
    "decoding/values.py",
    "journals/match.py",
}
PURE_OF_CLOCK = PURE_OF_FILES | {
    "journals/lines.py",
    "journals/records.py",
    "documents/snapshot.py",
    "documents/lists.py",
}
WRITERS = re.compile(
    r"(journals/store|maintenance/(import_events|prune)|recovery/store|documents/store|projections/\w+)\.py"
)
TYPER = re.compile(r"cli/\w+\.py|__main__\.py")
RICH = re.compile(r"table\.py|cli/\w+\.py|reports/terminal/\w+\.py")
# Temporary tables are nobody else's.
WRITES = re.compile(
    r"\b(INSERT (OR \w+ )?INTO(?! temp\.)|REPLACE INTO|UPDATE (OR \w+ )?\w+\s+(AS \w+\s+)?SET|DELETE FROM)\b"
)
TRANSACTS = re.compile(r"^\s*(BEGIN|COMMIT|ROLLBACK|SAVEPOINT|RELEASE)\b", re.MULTILINE)


def tree(name: str) -> ast.Module:
    return ast.parse((PACKAGE / name).read_text())


def imports(name: str, *, at_run_time: bool = True) -> set[str]:
    """Return the modules that a file imports, those for type checking only left out unless asked for."""
    parsed = tree(name)
    skipped: set[ast.AST] = set()
    if at_run_time:
        for node in ast.walk(parsed):
            if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
                skipped.update(inner for body in node.body for inner in ast.walk(body))
    found: set[str] = set()
    for node in ast.walk(parsed):
        if node in skipped:
            continue
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            found.update(_targets(node))
    return found


def _targets(node: ast.ImportFrom) -> set[str]:
    """Return what `from x import y` names: the module x.y where y is one of ours, else x."""
    module = node.module or ""
    whole = {f"{module}.{alias.name}" for alias in node.names}
    ours = {target for target in whole if _is_module(target)}
    return ours | ({module} if len(ours) < len(whole) else set())


def _is_module(dotted: str) -> bool:
    base = ROOT / dotted.replace(".", "/")
    return base.with_suffix(".py").is_file() or (base / "__init__.py").is_file()


def ours(name: str, *, at_run_time: bool = True) -> set[str]:
    return {module for module in imports(name, at_run_time=at_run_time) if module.partition(".")[0] == "shipwrightd"}


def foreign(name: str) -> set[str]:
    return {module.partition(".")[0] for module in imports(name)}


def package_of(dotted: str) -> str:
    """Return the package of a module of ours; an empty text for one of the top folder."""
    parts = dotted.split(".")
    return parts[1] if len(parts) > 1 and (PACKAGE / parts[1]).is_dir() else ""


def of_package(package: str) -> list[str]:
    return [name for name in NAMES if name.startswith(f"{package}/")]


def test_every_package_has_its_line_in_the_table() -> None:
    folders = {folder.name for folder in PACKAGE.iterdir() if (folder / "__init__.py").is_file()}

    assert folders == PACKAGES.keys() | {"cli"}


@pytest.mark.parametrize("package", sorted(PACKAGES))
def test_packages_import_what_the_table_allows(package: str) -> None:
    found = {package_of(module) for name in of_package(package) for module in ours(name, at_run_time=False)}
    against = found - {"", package} - PACKAGES[package]

    assert not against


def test_top_modules_import_only_each_other() -> None:
    for name in BASE:
        assert not {package_of(module) for module in ours(f"{name}.py", at_run_time=False)} - {""}


def test_no_imports_run_in_a_circle() -> None:
    """At run time: what is imported for type checking alone makes no circle."""
    module_of = {name: ".".join(("shipwrightd", *Path(name).with_suffix("").parts)) for name in NAMES}
    names = {dotted.removesuffix(".__init__"): name for name, dotted in module_of.items()}
    edges = {name: {names[module] for module in ours(name) if module in names} for name in NAMES}
    done: set[str] = set()

    def walk(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, " > ".join((*path, name))
        if name not in done:
            for other in sorted(edges[name]):
                walk(other, (*path, name))
            done.add(name)

    for name in NAMES:
        walk(name, ())


@pytest.mark.parametrize("name", [name for name in NAMES if name != "daemon/watch.py"])
def test_only_watch_imports_watchdog(name: str) -> None:
    assert "watchdog" not in foreign(name)


@pytest.mark.parametrize("name", NAMES)
def test_command_line_libraries_stay_in_the_command_line(name: str) -> None:
    allowed = ({"typer"} if TYPER.fullmatch(name) else set()) | ({"rich"} if RICH.fullmatch(name) else set())

    assert foreign(name) & {"typer", "rich"} <= allowed


def test_all_that_decides_is_there() -> None:
    assert set(NAMES) >= PURE_OF_CLOCK


@pytest.mark.parametrize("name", sorted(PURE_OF_CLOCK))
def test_what_decides_knows_no_clock_no_database_and_no_log(name: str) -> None:
    assert not foreign(name) & {"apsw", "structlog", "watchdog", "time"}
    if name in PURE_OF_FILES:
        assert not foreign(name) & {"os", "pathlib", "io", "shutil", "tempfile"}
        assert "open" not in {n.func.id for n in calls(name) if isinstance(n.func, ast.Name)}


def calls(name: str) -> list[ast.Call]:
    return [node for node in ast.walk(tree(name)) if isinstance(node, ast.Call)]


def statements(name: str, pattern: re.Pattern[str]) -> list[str]:
    """Return the string constants of a file, docstrings aside, that hold what the pattern finds."""
    parsed = tree(name)
    docs = {
        node.body[0].value
        for node in ast.walk(parsed)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    constants = [node for node in ast.walk(parsed) if isinstance(node, ast.Constant) and node not in docs]
    return [node.value for node in constants if isinstance(node.value, str) and pattern.search(node.value)]


@pytest.mark.parametrize("name", [name for name in NAMES if not WRITERS.fullmatch(name)])
def test_only_the_stores_write_rows(name: str) -> None:
    found = statements(name, WRITES)
    if name == "database/migrate.py":
        found = [sql for sql in found if "schema_version" not in sql]

    assert not found


@pytest.mark.parametrize("name", NAMES)
def test_only_transaction_begins_and_commits(name: str) -> None:
    found = statements(name, TRANSACTS)
    if name == "database/__init__.py":
        (function,) = [n for n in tree(name).body if isinstance(n, ast.FunctionDef) and n.name == "transaction"]
        inside = {n.value for n in ast.walk(function) if isinstance(n, ast.Constant)}
        found = [sql for sql in found if sql not in inside]

    assert not found


@pytest.mark.parametrize("name", NAMES)
def test_sql_is_never_put_together_from_pieces(name: str) -> None:
    """PRAGMA takes no parameters, so that module may write its own constants into one."""
    made = [
        ast.unparse(node)
        for node in ast.walk(tree(name))
        if isinstance(node, ast.JoinedStr)
        and isinstance(node.values[0], ast.Constant)
        and re.match(r"\s*(SELECT|INSERT|UPDATE|DELETE|CREATE|DROP|WITH|PRAGMA|ATTACH)\s", str(node.values[0].value))
    ]
    if name == "database/__init__.py":
        made = [sql for sql in made if "PRAGMA" not in sql]

    assert not made


@pytest.mark.parametrize("name", NAMES)
def test_modules_stay_short(name: str) -> None:
    assert len((PACKAGE / name).read_text().splitlines()) <= MODULE_LINES


@pytest.mark.parametrize("name", NAMES)
def test_functions_stay_short(name: str) -> None:
    long = {
        node.name: node.end_lineno - node.lineno + 1
        for node in ast.walk(tree(name))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.end_lineno is not None
        and node.end_lineno - node.lineno + 1 > FUNCTION_LINES
    }

    assert not long


def test_every_dependency_is_used() -> None:
    assert {module for name in NAMES for module in foreign(name)} >= OUTSIDE
