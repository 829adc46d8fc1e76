"""``make doctor``: what it says of machines with one thing off, each made for real."""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.doctor.finding import OK, PROBLEM, WARNING, Finding, render, verdict
from pipelines.doctor.jars import check_jars
from pipelines.doctor.java import check_java
from pipelines.doctor.machine import GIB, check_cores, check_disk, check_memory, check_network, memory_bytes
from pipelines.doctor.python import check_python
from pipelines.doctor.venv import check_spark, check_venv, pinned, required, site_packages

ROOT = Path(__file__).resolve().parents[2]
DELTA, STORAGE = "io.delta_delta-spark_2.13-4.0.1.jar", "io.delta_delta-storage-4.0.1.jar"
KAFKA, CLIENTS = (
    "org.apache.spark_spark-sql-kafka-0-10_2.13-4.0.0.jar",
    "org.apache.kafka_kafka-clients-3.9.0.jar",
)


def fake_java(folder: Path, says: str) -> Path:
    java = folder / "bin" / "java"
    java.parent.mkdir(parents=True)
    java.write_text(f"#!/bin/sh\necho '{says}' >&2\n")
    java.chmod(0o755)
    return folder


@pytest.mark.parametrize(
    ("says", "expected"),
    [
        ('openjdk version "17.0.15" 2025-04-15', OK),
        ('openjdk version "21.0.2" 2024-01-16', OK),
        ('openjdk version "24" 2025-03-18', WARNING),
        ('java version "1.8.0_392"', PROBLEM),
        ("The operation couldn't be completed. Unable to locate a Java Runtime.".replace("'", ""), PROBLEM),
    ],
)
def test_java_is_judged_by_what_it_says_of_itself(tmp_path: Path, says: str, expected: str) -> None:
    home = fake_java(tmp_path / "jdk", says)
    by_home = check_java({"JAVA_HOME": str(home), "PATH": ""})
    by_path = check_java({"PATH": f"{home}/bin"})
    assert (by_home.verdict, by_path.verdict) == (expected, expected)
    assert (expected == OK) == (by_path.mend == "")
    if expected != OK:
        assert "17" in by_path.mend


def test_a_path_without_java(tmp_path: Path) -> None:
    found = check_java({"PATH": str(tmp_path)})
    assert found.verdict == PROBLEM and "openjdk-17-jre-headless" in found.mend


def test_a_java_home_without_java_is_not_made_good_by_the_path(tmp_path: Path) -> None:
    """Spark asks JAVA_HOME first and fails there, whatever PATH has."""
    good = fake_java(tmp_path / "jdk", 'openjdk version "17.0.15" 2025-04-15')
    found = check_java({"JAVA_HOME": str(tmp_path / "gone"), "PATH": f"{good}/bin"})
    assert found.verdict == PROBLEM
    assert str(tmp_path / "gone") in found.found and "unset JAVA_HOME" in found.mend


@pytest.mark.parametrize(
    ("version", "can_venv", "set_up", "expected"),
    [
        ((3, 11, 2), True, False, OK),
        ((3, 12, 1), True, False, PROBLEM),
        ((3, 11, 2), False, False, PROBLEM),
        ((3, 12, 1), True, True, WARNING),
    ],
)
def test_python(version: tuple[int, ...], can_venv: bool, set_up: bool, expected: str) -> None:
    assert check_python(set_up, version, "python3", can_venv).verdict == expected


def test_memory_by_size_and_by_a_containers_limit(tmp_path: Path) -> None:
    assert [check_memory(int(gib * GIB)).verdict for gib in (2, 6, 16)] == [PROBLEM, WARNING, OK]
    limit, none = tmp_path / "memory.max", tmp_path / "unlimited"
    limit.write_text(f"{2 * GIB}\n")
    none.write_text("max\n")
    assert memory_bytes([str(limit)]) == 2 * GIB
    assert (memory_bytes([str(none), "/nowhere"]) or 0) > 0


def test_cores() -> None:
    assert [check_cores(count).verdict for count in (1, 2)] == [WARNING, OK]


def test_disk_needs_more_before_set_up(tmp_path: Path) -> None:
    root, temporary = tmp_path / "project", tmp_path / "tmp"
    root.mkdir()
    temporary.mkdir()

    def verdicts(gib_root: float, gib_temporary: float, set_up: bool) -> str:
        free = {root: gib_root, temporary: gib_temporary}
        return check_disk(root, temporary, set_up, lambda folder: int(free[folder] * GIB)).verdict

    assert verdicts(4, 4, set_up=False) == PROBLEM
    assert verdicts(4, 4, set_up=True) == OK
    assert verdicts(40, 0.5, set_up=True) == PROBLEM
    assert check_disk(root, tmp_path / "gone", True).verdict == PROBLEM


def test_a_host_name_without_an_address() -> None:
    found = check_network("no-such-host.invalid")
    assert found.verdict == PROBLEM and "SPARK_LOCAL_IP" in found.mend
    assert check_network("127.0.0.1").verdict == OK


def project(folder: Path, *, delta: str = "4.0.1", pin: str = "4.0.5", url: str | None = None) -> Path:
    """A small project with an environment of two packages and the jars."""
    (folder / "conf").mkdir(parents=True)
    (folder / "conf" / "constraints.txt").write_text(f"pyspark=={pin}\nTorch_Thing==1.0  # why\n")
    (folder / "pyproject.toml").write_text(
        '[project]\nname = "x"\ndependencies = ["pyspark==4.0.5"]\n'
        '[project.optional-dependencies]\ntrain = ["torch-thing==1.0"]\n'
    )
    (folder / ".venv" / "bin").mkdir(parents=True)
    (folder / ".venv" / "bin" / "python").symlink_to(sys.executable)
    site = folder / ".venv" / "lib" / "python3.11" / "site-packages"
    for name, version in (("pyspark", "4.0.5"), ("torch_thing", "1.0"), ("seqloom", "0.1.0")):
        info = site / f"{name}-{version}.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (site / "seqloom-0.1.0.dist-info" / "direct_url.json").write_text(
        json.dumps({"url": url or f"file://{folder}", "dir_info": {"editable": True}})
    )
    jars = site / "pyspark" / "jars"
    jars.mkdir(parents=True)
    for jar in (DELTA.replace("4.0.1", delta), STORAGE, KAFKA, CLIENTS):
        (jars / jar).write_bytes(b"PK\x03\x04")
    return folder


def test_a_whole_project_is_ok(tmp_path: Path) -> None:
    root = project(tmp_path)
    findings = [check_venv(root), check_spark(root, {}), check_jars(site_packages(root / ".venv"))]
    assert [finding.verdict for finding in findings] == [OK, OK, OK]


def test_before_set_up_nothing_is_a_problem(tmp_path: Path) -> None:
    findings = [check_venv(tmp_path), check_spark(tmp_path, {}), check_jars(None)]
    assert [finding.verdict for finding in findings] == [WARNING] * 3
    assert all("make setup" in finding.mend for finding in findings)


@pytest.mark.parametrize("jar", [DELTA, STORAGE, KAFKA, CLIENTS])
def test_a_jar_removed(tmp_path: Path, jar: str) -> None:
    site = site_packages(project(tmp_path) / ".venv")
    assert site is not None
    (site / "pyspark" / "jars" / jar).unlink()
    found = check_jars(site)
    assert found.verdict == PROBLEM and "make setup" in found.mend and "missing" in found.found


def test_a_jar_of_another_version_or_cut_off(tmp_path: Path) -> None:
    other = check_jars(site_packages(project(tmp_path / "a", delta="3.3.0") / ".venv"))
    assert other.verdict == PROBLEM and "delta-spark_2.13-3.3.0" in other.found
    site = site_packages(project(tmp_path / "b") / ".venv")
    assert site is not None
    (site / "pyspark" / "jars" / DELTA).write_bytes(b"")
    cut = check_jars(site)
    assert cut.verdict == PROBLEM and "cut off" in cut.found


def test_a_package_of_another_version_missing_or_only_for_training(tmp_path: Path) -> None:
    other = check_venv(project(tmp_path / "a", pin="4.0.4"))
    assert other.verdict == PROBLEM and "pyspark 4.0.5 for 4.0.4" in other.found
    for name, expected in (("pyspark-4.0.5", PROBLEM), ("torch_thing-1.0", WARNING)):
        root = project(tmp_path / name)
        site = site_packages(root / ".venv")
        assert site is not None
        (site / f"{name}.dist-info" / "METADATA").unlink()
        (site / f"{name}.dist-info").rmdir()
        assert check_venv(root).verdict == expected


def test_an_environment_whose_python_is_gone_or_runs_other_code(tmp_path: Path) -> None:
    root = project(tmp_path / "a")
    python = root / ".venv" / "bin" / "python"
    python.unlink()
    python.symlink_to(tmp_path / "uninstalled" / "python3.11")
    assert check_venv(root).verdict == PROBLEM
    elsewhere = check_venv(project(tmp_path / "b", url="file:///other/clone"))
    assert elsewhere.verdict == WARNING and "/other/clone" in elsewhere.found


def test_a_spark_home_of_another_spark(tmp_path: Path) -> None:
    root = project(tmp_path)
    found = check_spark(root, {"SPARK_HOME": str(tmp_path / "spark-3.5")})
    assert found.verdict == WARNING and "unset SPARK_HOME" in found.mend
    own = str(root / ".venv" / "lib" / "python3.11" / "site-packages" / "pyspark")
    assert check_spark(root, {"SPARK_HOME": own}).verdict == OK


def test_lines_fit_80_columns_and_say_what_to_do() -> None:
    findings = [
        Finding(OK, "cores", "2"),
        Finding(PROBLEM, "Java", "a long story " * 12, "install Java 17 " * 8),
        Finding(WARNING, "memory", "4.0 GiB is tight", "give it 8 GiB"),
    ]
    text = render(findings)
    assert max(map(len, text.splitlines())) <= 80 and "\x1b" not in text
    assert verdict(findings) == "Not ready: mend Java first, as the arrows say."
    assert "Ready, with warnings about memory" in verdict([findings[0], findings[2]])
    assert "\x1b[31;1mproblem" in render(findings, colour=True)


def test_pins_and_requirements_of_this_project_can_be_read() -> None:
    pins, groups = pinned(ROOT / "conf" / "constraints.txt"), required(ROOT / "pyproject.toml")
    assert pins["pyspark"] == "4.0.5"
    assert {"pyspark", "great-expectations"} <= set(groups[""]) and "torch" in groups["train"]


def run(environ: dict[str, str], *flags: str) -> "subprocess.CompletedProcess[str]":
    """The doctor in a bare Python: no environment's packages."""
    command = [sys.executable, "-S", *flags, "-m", "pipelines.doctor"]
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, env={"TERM": "xterm"} | environ
    )


def test_it_runs_with_the_standard_library_alone_and_fails_without_java(tmp_path: Path) -> None:
    good = run({key: value for key, value in os.environ.items() if key in ("PATH", "JAVA_HOME")})
    assert "problem  Java" not in good.stdout and good.stderr == ""
    bad = run({"PATH": str(tmp_path)})
    assert bad.returncode == 1 and "problem  Java" in bad.stdout and bad.stderr == ""
    assert "\x1b" not in bad.stdout
    wrong = run({"PATH": os.environ["PATH"], "JAVA_HOME": str(tmp_path)})
    assert wrong.returncode == 1 and "unset JAVA_HOME" in wrong.stdout


@pytest.mark.parametrize(
    "file", [*(ROOT / "pipelines" / "doctor").glob("*.py"), ROOT / "pipelines/packages.py"]
)
def test_an_old_python_reads_it_and_can_say_that_it_is_too_old(file: Path) -> None:
    tree = ast.parse(file.read_text(encoding="utf-8"), feature_version=(3, 8))
    modules = {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    modules |= {one.name for node in ast.walk(tree) if isinstance(node, ast.Import) for one in node.names}
    outside = {name for name in modules if name.split(".")[0] not in sys.stdlib_module_names}
    assert all(name.startswith(("pipelines.doctor", "pipelines.packages")) for name in outside), outside
