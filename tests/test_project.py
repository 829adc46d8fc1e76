"""The project's own rules: imports one way, thin jobs, configs that load, nothing of one machine."""

import ast
import io
import os
import re
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from pipelines.config import load_config

ROOT = Path(__file__).parents[1]
MAX_JOB_LINES = 40
_NO_CODE = {
    tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENCODING,
    tokenize.ENDMARKER, tokenize.STRING,
}  # fmt: skip


_EVERYWHERE = "bin dev etc home lib media mnt opt proc run srv tmp usr var"
"""Top folders of every Unix machine: naming one of them gives nothing away."""


def committed() -> list[Path]:
    """Files that git tracks, or would were they added; every file outside .venv where there is no git."""
    command = ["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    except (OSError, subprocess.CalledProcessError):
        folders = (
            "features",
            "pipelines",
            "jobs",
            "training",
            "airflow",
            "tests",
            "conf",
            "benchmarks",
            ".ci",
        )
        found = [file for folder in folders for file in (ROOT / folder).rglob("*")]
        return [file for file in (*found, *ROOT.glob("*.*"), ROOT / "Makefile") if file.is_file()]
    return [file for name in listed if (file := ROOT / name).is_file()]


def texts() -> Iterator[tuple[str, str]]:
    """Name and text of each committed text file."""
    for file in committed():
        try:
            yield str(file.relative_to(ROOT)), file.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue


def code_lines(source: str) -> int:
    """Lines that hold code: no comments, blank lines, or lines of text alone (docstrings, help)."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return len({token.start[0] for token in tokens if token.type not in _NO_CODE})


def test_import_contracts_hold() -> None:
    tool = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([tool, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_features_ask_no_clock_and_open_no_files() -> None:
    """import-linter sees modules; this sees the standard library's ways to the outside."""
    outside = {"time", "os", "io", "pathlib", "shutil", "tempfile", "subprocess", "socket", "requests"}
    for file in sorted((ROOT / "features").rglob("*.py")):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        names = {
            alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names
        }
        names |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        assert not outside & {name.split(".")[0] for name in names}, file
        called = {node.func.id for node in ast.walk(tree)
                  if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}  # fmt: skip
        assert "open" not in called, file


def test_code_lines_counts_code_alone() -> None:
    header = '"""Doc."""\n\nimport os  # why\n\nHELP = """\\\n  a\n  b"""\n'
    function = '\ndef f():\n    """Doc."""\n    # why\n    return os\n'
    assert code_lines(header + function) == 4  # import, HELP, def, return


@pytest.mark.parametrize("job", sorted((ROOT / "jobs").glob("*.py")), ids=lambda job: job.name)
def test_jobs_are_thin(job: Path) -> None:
    lines = code_lines(job.read_text(encoding="utf-8"))
    assert lines <= MAX_JOB_LINES, f"{job.name} has {lines} lines of code: move what decides into pipelines/"


def test_no_package_hides_apache_airflow() -> None:
    assert not list((ROOT / "airflow").rglob("__init__.py"))


@pytest.mark.parametrize("name", ["demo", "taobao", "globo", "retailrocket", "rees46"])
def test_shipped_profiles_are_there(name: str) -> None:
    assert (ROOT / "conf" / f"{name}.toml").is_file()


@pytest.mark.parametrize("file", sorted((ROOT / "conf").glob("*.toml")), ids=lambda file: file.name)
def test_shipped_configs_load(file: Path) -> None:
    config = load_config(file)
    assert config.sequences.spec().families
    assert not Path(config.warehouse).is_absolute() and not Path(config.source.path).is_absolute()


def test_no_file_names_a_path_of_one_machine() -> None:
    """Homes in general, and this checkout's and this user's folders in particular."""
    own = [str(path) for path in (ROOT, Path.home()) if len(path.parts) > 2 or path.name == "root"]
    if ROOT.parts[1] not in _EVERYWHERE.split():  # the checkout's top folder and all that lies beside it
        own.append(f"/{ROOT.parts[1]}")
    anchored = "|".join(re.escape(path) + r"(?=[/\s\"'`:]|$)" for path in own)
    pattern = re.compile(
        rf"(?<![\w.$}}-])(?:/(?:home|Users)/\w+|[A-Z]:\\Users\\\w+|{anchored})", re.MULTILINE
    )
    assert {name: found.group() for name, text in texts() if (found := pattern.search(text))} == {}


def test_code_and_config_need_nothing_outside_the_checkout() -> None:
    pattern = re.compile(r"\.\./" + "shared")
    code = (".py", ".toml", ".yaml", ".yml", ".sh", "Makefile", "run", "setup", "demo")
    assert [name for name, text in texts() if name.endswith(code) and pattern.search(text)] == []


def test_no_file_names_a_package_registry() -> None:
    """Where packages come from is the machine's setting (pip, uv, Ivy), never the project's."""
    flags = r"(?:--(?:extra-)?index-url|--find-links|--index|--registry|--repositories)[ =]+\S*://"
    hosts = r"https?://[^\s/\"']*(?:pypi|nexus|artifactory|registry|mirror|maven|proxy)[^\s/\"']*"
    configured = {
        host
        for name, value in os.environ.items()
        if re.search(r"INDEX|REGISTRY|PROXY|MIRROR", name.upper())
        and (host := urlsplit(value).hostname)
        and host not in ("localhost", "127.0.0.1", "::1")
    }
    pattern = re.compile("|".join([flags, hosts, *map(re.escape, sorted(configured))]))
    assert {name: found.group() for name, text in texts() if (found := pattern.search(text))} == {}
