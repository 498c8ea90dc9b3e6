"""Who may import whom, who may write, how long things may get: the rules a machine can check."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "shipwrightd"
FUNCTION_LINES = 50
MODULE_LINES = 400
FILES = sorted(PACKAGE.rglob("*.py"))
NAMES = [str(file.relative_to(PACKAGE)) for file in FILES]

# Of ours. "text" is about characters, "mounts" about the machine, "guard" about whose files these are: for everyone.
LEAVES = {
    "shipwrightd",
    "shipwrightd.errors",
    "shipwrightd.exposition",
    "shipwrightd.guard",
    "shipwrightd.mounts",
    "shipwrightd.text",
}
SERVICE = {f"shipwrightd.service_{part}" for part in ("steps", "systemd", "launchd")}
ALLOWED: dict[str, set[str]] = {
    "errors.py": set(),
    "text.py": set(),
    "guard.py": {"shipwrightd.errors"},
    "mounts.py": set(),
    "exposition.py": {"shipwrightd.text"},
    "__init__.py": set(),
    "log.py": {"shipwrightd.text"},
    "completion.py": set(),
    "config_keys.py": LEAVES,
    "config_files.py": LEAVES,
    "config.py": LEAVES | {"shipwrightd.config_keys", "shipwrightd.config_files"},
    "db.py": LEAVES,
    "service.py": LEAVES | SERVICE,
    "service_steps.py": LEAVES,
    "service_systemd.py": LEAVES | {"shipwrightd.service_steps"},
    "service_launchd.py": LEAVES | {"shipwrightd.service_steps"},
    "migrate.py": LEAVES | {"shipwrightd.db"},
}
OUTSIDE = {"apsw", "orjson", "rich", "structlog", "typer", "watchdog"}
SALVAGES = {"salvage.py", "salvage_exact.py", "salvage_scan.py", "salvage_text.py"}
PURE_OF_FILES = SALVAGES | {"rows.py", "decode.py", "align.py"}
PURE_OF_CLOCK = PURE_OF_FILES | {"tail.py", "snapshot.py", "compare.py", "locate.py", "overlap.py", "stream.py"}
WRITERS = re.compile(r"ingest/(store|store_upkeep|store_heal|documents_store|documents_sql|project\w*)\.py")
COMMAND_LINE = re.compile(r"(\w+_)?(cli|commands)(_\w+)?\.py|__main__\.py")
TYPER = re.compile(r"cli(_\w+)?\.py|__main__\.py")
RICH = re.compile(r"commands\.py|report/page\.py|report/show/\w+\.py")
WRITES = re.compile(r"\b(INSERT (OR \w+ )?INTO|REPLACE INTO|UPDATE (OR \w+ )?\w+\s+(AS \w+\s+)?SET|DELETE FROM)\b")
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


def ours(name: str) -> set[str]:
    return {module for module in imports(name) if module.partition(".")[0] == "shipwrightd"}


def foreign(name: str) -> set[str]:
    return {module.partition(".")[0] for module in imports(name)}


@pytest.mark.parametrize("name", NAMES)
def test_imports_follow_the_table(name: str) -> None:
    side = name.partition("/")[0]
    if COMMAND_LINE.fullmatch(name):
        return  # these may import everything
    if side in {"ingest", "report"}:
        allowed = (
            LEAVES
            | {"shipwrightd.db", "shipwrightd.migrate"}
            | {m for m in ours(name) if m.startswith(f"shipwrightd.{side}")}
        )
        if name == "ingest/daemon.py":
            allowed |= {"shipwrightd.config"}
    elif side == "monitor":
        allowed = (
            LEAVES | {"shipwrightd.ingest.listen"} | {m for m in ours(name) if m.startswith("shipwrightd.monitor")}
        )
    else:
        assert name in ALLOWED, f"{name} has no line in the table of imports"
        allowed = ALLOWED[name]

    assert ours(name) <= allowed


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith(("ingest/", "report/"))])
def test_the_two_sides_never_import_each_other(name: str) -> None:
    other = "report" if name.startswith("ingest/") else "ingest"

    assert not [m for m in imports(name, at_run_time=False) if m.startswith(f"shipwrightd.{other}")]


@pytest.mark.parametrize("name", [name for name in NAMES if name != "ingest/wake.py"])
def test_only_wake_imports_watchdog(name: str) -> None:
    assert "watchdog" not in foreign(name)


@pytest.mark.parametrize("name", NAMES)
def test_command_line_libraries_stay_in_the_command_line(name: str) -> None:
    allowed = {"typer"} if TYPER.fullmatch(name) else {"rich"} if RICH.fullmatch(name) else set()

    assert foreign(name) & {"typer", "rich"} <= allowed


def test_all_that_decides_is_there() -> None:
    assert {f"ingest/{file}" for file in PURE_OF_CLOCK} <= set(NAMES)


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("ingest/")])
def test_what_decides_knows_no_clock_no_database_and_no_log(name: str) -> None:
    file = name.rpartition("/")[2]
    if file in PURE_OF_CLOCK:
        assert not foreign(name) & {"apsw", "structlog", "watchdog", "time"}
    if file in PURE_OF_FILES:
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
    if name == "migrate.py":
        found = [sql for sql in found if "schema_version" not in sql]

    assert not found


@pytest.mark.parametrize("name", NAMES)
def test_only_transaction_begins_and_commits(name: str) -> None:
    found = statements(name, TRANSACTS)
    if name == "db.py":
        (function,) = [n for n in tree(name).body if isinstance(n, ast.FunctionDef) and n.name == "transaction"]
        inside = {n.value for n in ast.walk(function) if isinstance(n, ast.Constant)}
        found = [sql for sql in found if sql not in inside]

    assert not found


@pytest.mark.parametrize("name", NAMES)
def test_sql_is_never_put_together_from_pieces(name: str) -> None:
    """PRAGMA takes no parameters, so db.py may write its own constants into one."""
    made = [
        ast.unparse(node)
        for node in ast.walk(tree(name))
        if isinstance(node, ast.JoinedStr)
        and isinstance(node.values[0], ast.Constant)
        and re.match(r"\s*(SELECT|INSERT|UPDATE|DELETE|CREATE|DROP|WITH|PRAGMA|ATTACH)\s", str(node.values[0].value))
    ]
    if name == "db.py":
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


def test_the_table_names_no_file_that_is_gone() -> None:
    assert not [name for name in ALLOWED if not (PACKAGE / name).is_file()]
    assert {module for name in NAMES for module in foreign(name)} >= OUTSIDE
