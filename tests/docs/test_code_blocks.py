"""Every code block of the README and of the documentation is executed as it is written there."""

from __future__ import annotations

import configparser
import json
import os
import re
import shutil
import subprocess
import sys
import types
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
from airflow.providers.common.compat.sdk import conf
from fsspec.implementations.memory import MemoryFileSystem

from airflow_provider_fullstory.get_provider_info import get_provider_info
from tests.conftest import FakeTaskInstance, run
from tests.docs.pages import PAGES, ROOT, Block, blocks, name_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow_provider_fullstory.emulator.client import EmulatorClient
    from demo.warehouse import Warehouse

#: What a page needs that a test cannot have, and where it is tested instead.
NOT_EXECUTED = {
    "git clone": "It would download this repository.",
    "cd airflow-provider-fullstory": "It is not there.",
    "pip install": "It would download this repository; `make check-build` installs the wheel.",
    "make": "CI and the tests of the demo run the targets; here they have to exist.",
}
#: Python functions of tasks that are not executed.
NOT_CALLED = {"count_imported": "It needs the asset events that started its run; an example is tested."}
#: Blocks that are no code: output, formats, and what Sphinx itself reads.
NO_CODE = {"text", "{toctree}", "{eval-rst}", "{literalinclude}"}
EXECUTED = {"python", "bash", "json", "ini"}
ALL = [block for page in PAGES for block in blocks(page)]
BIN = Path(sys.executable).parent
USUAL_URL = "http://127.0.0.1:8025"
ORDERS = """
    CREATE TABLE orders (order_id int, customer_id text, ordered_at timestamptz, updated_at timestamptz,
                         status text, total numeric);
    INSERT INTO orders SELECT n, 'customer-' || n, '2026-01-02T10:00:00Z', '2026-01-02T10:00:00Z', 'paid', n
    FROM generate_series(1, 3) AS n;
    CREATE TABLE customers (customer_id text, full_name text, email text, plan text, seats int,
                            last_order_at timestamptz);
    INSERT INTO customers VALUES ('customer-1', 'One', 'one@example.com', 'pro', 2, '2026-01-02T10:00:00Z');
"""
FILES = {
    "exports/orders/part-0.jsonl": {"customer_id": "customer-1", "updated_at": "2026-01-02T10:00:00Z"},
    "refused/shop/run/import_orders.ndjson": {"name": "Order Updated", "user": {"uid": "customer-1"}},
}


def pages_with(*languages: str) -> list[Any]:
    return [pytest.param(page, id=name_of(page)) for page in PAGES if blocks(page, *languages)]


def test_each_language_is_executed_or_known_as_none() -> None:
    found = {block.language.split(" ")[0] for block in ALL}
    assert found <= EXECUTED | NO_CODE, [str(b) for b in ALL if b.language not in EXECUTED | NO_CODE]
    assert found >= EXECUTED


def test_no_block_is_hidden_in_a_list_or_behind_another_fence() -> None:
    for page in PAGES:
        fences = re.findall(r"^\s*(?:`{3,}|~{3,}|:{3,})", page.read_text(), re.MULTILINE)
        assert len(fences) == 2 * len(blocks(page)), page


@pytest.fixture(scope="module")
def warehouse(postgresql: Warehouse) -> Warehouse:
    with postgresql.cursor() as cursor:
        cursor.execute(ORDERS)
    return postgresql


class Storage(MemoryFileSystem):
    """What stands for S3."""

    store: ClassVar[dict[str, Any]] = {}
    pseudo_dirs: ClassVar[list[str]] = [""]


@pytest.fixture
def bucket() -> None:
    """Let the pages' S3 be in memory, with the files that they read."""
    from airflow.sdk import ObjectStoragePath
    from airflow.sdk.io import attach

    Storage.store.clear()
    attach("s3", conn_id="aws_default", fs=Storage())
    for name, record in FILES.items():
        path = ObjectStoragePath(f"s3://aws_default@bucket/{name}")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(record) + "\n")


@pytest.fixture
def parsed(
    emulator: EmulatorClient, warehouse: Warehouse, bucket: None, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Path], list[Any]]:
    """Give a function that executes the Python blocks of a page, and returns the tasks that they make."""
    from airflow.sdk import DAG
    from airflow.sdk.definitions._internal.contextmanager import DagContext

    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", warehouse.connection_json())

    def parse(page: Path) -> list[Any]:
        module = types.ModuleType("page")
        monkeypatch.setitem(sys.modules, "page", module)
        monkeypatch.setattr(DagContext, "current_autoregister_module_name", "page")
        monkeypatch.setattr(DagContext, "autoregistered_dags", set())
        with DAG("page") as outer:
            for block in blocks(page, "python"):
                # With as many empty lines before it, a failure names the line of the page.
                code = compile("\n" * block.line + block.text, str(page), "exec", dont_inherit=True)
                exec(code, vars(module))
        dags = {dag for dag, _ in DagContext.autoregistered_dags} | {outer}
        tasks = [task for dag in dags for task in dag.tasks]
        with outer:
            # Some pages only decorate a function with @task.
            tasks += [decorated().operator for decorated in decorated_but_not_called(module, tasks)]
        return tasks

    return parse


def decorated_but_not_called(module: types.ModuleType, tasks: list[Any]) -> list[Any]:
    from airflow.sdk.bases.decorator import _TaskDecorator

    called = {getattr(task, "python_callable", None) for task in tasks}
    decorated = [value for value in vars(module).values() if isinstance(value, _TaskDecorator)]
    return [value for value in decorated if value.function not in called]


def execute(task: Any, make_context: Callable[..., Any]) -> Any:
    """Run a task as Airflow does: its templates rendered, the results of the tasks before it at hand."""
    context = make_context(run_id="run")
    instance: FakeTaskInstance = context["ti"]
    instance.dag_id, instance.task_id = task.dag_id, task.task_id
    context |= {"dag": task.dag, "params": dict(task.dag.params)}
    for name in ("events", "users"):
        source = getattr(task, name, None)
        if hasattr(source, "operator"):
            setattr(task, name, source.operator.python_callable())
    task.render_template_fields(context)
    return run(task, context)


@pytest.mark.parametrize("page", pages_with("python"))
def test_python(
    page: Path,
    parsed: Callable[[Path], list[Any]],
    emulator: EmulatorClient,
    make_context: Callable[..., Any],
) -> None:
    from airflow_provider_fullstory.operators.fullstory import FullStoryAnnotationOperator
    from airflow_provider_fullstory.operators.imports import FullStoryImportOperator

    for task in parsed(page):
        if isinstance(task, FullStoryImportOperator):
            report = execute(task, make_context)
            assert report["imported"] == report["records"] > 0, task
        elif isinstance(task, FullStoryAnnotationOperator):
            execute(task, make_context)
            assert len(emulator.annotations()) == 1
        elif task.task_id not in NOT_CALLED:
            execute(task, make_context)


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, id=name_of(page))
        for page in PAGES
        if any("def test_" in block.text for block in blocks(page))
    ],
)
def test_tests(page: Path, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    test = tmp_path / "test_page.py"
    test.write_text("\n".join(block.text for block in blocks(page, "python")))
    environment = os.environ | {"AIRFLOW_HOME": str(tmp_path / "airflow")}
    for block in blocks(page, "bash"):
        if "airflow db migrate" in block.text:
            shell: Shell = request.getfixturevalue("shell")
            shell.run(block)
            environment = os.environ | shell.environment
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(test)]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{test.read_text().count('def test_')} passed" in done.stdout


@pytest.mark.parametrize("block", [b for b in ALL if b.language == "json"], ids=str)
def test_json(block: Block) -> None:
    from airflow_provider_fullstory.batch_import.reporting.report import ImportReport
    from airflow_provider_fullstory.task.outlets import counts_of

    value = json.loads(block.text)
    if "job_ids" in value:
        report = ImportReport(**value)
        assert report.to_xcom() == value
    elif "jobs" in value:
        assert value.keys() == counts_of(ImportReport(value["resource"])).keys()
    else:
        assert set(value) == {"event", "refusal"}


@pytest.mark.parametrize("block", [b for b in ALL if b.language == "ini"], ids=str)
def test_ini(block: Block) -> None:
    parser = configparser.ConfigParser()
    parser.read_string(block.text)
    known = conf.configuration_description | get_provider_info()["config"]
    for section in parser.sections():
        assert set(parser[section]) <= set(known[section]["options"])


@pytest.fixture(scope="module")
def migrated_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("airflow")
    command = [BIN / "airflow", "db", "migrate"]
    subprocess.run(command, env=os.environ | {"AIRFLOW_HOME": str(home)}, check=True, capture_output=True)
    return home


@pytest.fixture
def shell(migrated_home: Path, tmp_path: Path) -> Iterator[Shell]:
    home = tmp_path / "airflow"
    shutil.copytree(migrated_home, home)
    configuration = home / "airflow.cfg"
    configuration.write_text(configuration.read_text().replace(str(migrated_home), str(home)))
    shell = Shell(tmp_path, home)
    yield shell
    shell.close()


class Shell:
    """Run blocks one after another, as a person does who copies them: what one exports, the next one sees."""

    def __init__(self, directory: Path, home: Path) -> None:
        self._directory = directory
        self.environment = {
            "AIRFLOW_HOME": str(home),
            "HOME": str(directory),
            "PATH": f"{BIN}:{os.environ['PATH']}",
            "AIRFLOW__FULLSTORY__STATE_URI": f"file://{directory}/state",
            "AIRFLOW_CONN_FULLSTORY_DEFAULT": "",
        }
        self._server: subprocess.Popen[str] | None = None
        self.url = ""

    def run(self, block: Block) -> None:
        text = block.text
        if text.startswith("fullstory-emulator"):
            self._serve(text)
            return
        for command in text.splitlines():
            if command.startswith(tuple(NOT_EXECUTED)):
                check_targets(command)
                text = text.replace(command, "")
        if USUAL_URL in text and not self.url:
            # The demo that a page starts is not executed, so its emulator is not there.
            self._serve("fullstory-emulator")
        # The emulator's usual port may be taken on this machine.
        text = text.replace(USUAL_URL, self.url)
        done = subprocess.run(
            ["bash", "-euc", f"{text}\nenv -0 > {self._directory}/environment"],
            cwd=self._directory,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        assert done.returncode == 0, f"{block}\n{done.stdout}{done.stderr}"
        pairs = (self._directory / "environment").read_text().split("\0")
        self.environment = dict(pair.split("=", 1) for pair in pairs if "=" in pair)

    def _serve(self, command: str) -> None:
        self._server = subprocess.Popen(
            [*command.split(), "--port", "0", "--exit-with-parent"],
            env=self.environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._server.stdout
        found = re.search(r"http://127\.0\.0\.1:\d+", self._server.stdout.readline())
        assert found
        self.url = found[0]

    def close(self) -> None:
        if self._server:
            self._server.kill()
            self._server.communicate()


def check_targets(command: str) -> None:
    """Check that what is made has a target."""
    if command.startswith("make "):
        target = command.split()[1]
        assert re.search(rf"^{re.escape(target)}:", (ROOT / "Makefile").read_text(), re.MULTILINE), command


@pytest.mark.parametrize("page", pages_with("bash"))
def test_bash(page: Path, shell: Shell, request: pytest.FixtureRequest) -> None:
    if any("fullstory-sync" in block.text for block in blocks(page, "bash")):
        request.getfixturevalue("synced")(page, shell)
    if any("fullstory-preview" in block.text for block in blocks(page, "bash")):
        request.getfixturevalue("deployed")(page, shell)
    for block in blocks(page, "bash"):
        shell.run(block)
        for name, value in shell.environment.items():
            if name.startswith("AIRFLOW_CONN_") and value:
                assert json.loads(value)["conn_type"] == "fullstory", block


@pytest.fixture
def synced(
    parsed: Callable[[Path], list[Any]], make_context: Callable[..., Any]
) -> Callable[[Path, Shell], None]:
    """Give a function that runs the syncs of a page, with their state where the shell's commands look."""

    def synchronize(page: Path, shell: Shell) -> None:
        for task in parsed(page):
            task.state_uri = shell.environment["AIRFLOW__FULLSTORY__STATE_URI"]
            execute(task, make_context)

    return synchronize


@pytest.fixture
def deployed(warehouse: Warehouse) -> Callable[[Path, Shell], None]:
    """Give a function that puts a page's DAG, and the connection that it needs, into the shell's Airflow."""

    def deploy(page: Path, shell: Shell) -> None:
        folder = Path(shell.environment["AIRFLOW_HOME"]) / "dags"
        folder.mkdir()
        for block in blocks(page, "python"):
            (folder / f"line_{block.line}.py").write_text(block.text)
        command = [
            BIN / "airflow",
            "connections",
            "add",
            "warehouse",
            "--conn-json",
            warehouse.connection_json(),
        ]
        subprocess.run(command, env=shell.environment, check=True, capture_output=True, timeout=300)

    return deploy
