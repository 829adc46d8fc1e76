"""The model in MLflow: logged without pickle, loaded, and served over HTTP, whatever is sent to it."""

import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import pytest
from mlflow.exceptions import MlflowException
from mlflow.models.model import ModelInfo

from tests.training.serving.test_parity import as_given
from training.serving.contract import PACKAGES, input_example, requirements, signature
from training.serving.logging import log_bundle
from training.serving.loopback import serving
from training.serving.served import Served

AS_OF = "2024-03-09T00:00:00Z"
EVENT = {"user_id": "u", "item_id": "i1", "ts": "2024-03-08T00:00:00Z", "event_type": "pv"}


@pytest.fixture(scope="module")
def logged(
    bundle_of: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[ModelInfo, str]]:
    """The bundle of MoS as a model in a SQLite store, and the store's URI."""
    folder, before = tmp_path_factory.mktemp("mlflow"), mlflow.get_tracking_uri()
    store = f"sqlite:///{folder}/mlflow.db"
    mlflow.set_tracking_uri(store)
    experiment = mlflow.create_experiment("serving", artifact_location=(folder / "artifacts").as_uri())
    with mlflow.start_run(experiment_id=experiment):
        info = log_bundle(bundle_of("mos"), "recommender")
    yield info, store
    mlflow.set_tracking_uri(before)


@pytest.fixture(scope="module")
def folder(logged: tuple[ModelInfo, str]) -> Path:
    """The model's files."""
    return Path(mlflow.artifacts.download_artifacts(logged[0].model_uri))


def test_the_logged_model_holds_no_pickle(folder: Path) -> None:
    suffixes = {path.suffix for path in folder.rglob("*") if path.is_file()}
    assert not suffixes & {".pkl", ".pickle", ".pt", ".pth", ".bin"}
    assert (folder / "requirements.txt").read_text().split() == requirements()
    assert [line.partition("==")[0] for line in requirements()] == list(PACKAGES)
    assert not {"pyspark", "petastorm", "deltalake", "lightning-fabric"} & set(PACKAGES)
    code = {path.name for path in (folder / "code").iterdir()}
    assert code == {"features", "training"}


def test_the_signature_comes_back(logged: tuple[ModelInfo, str]) -> None:
    assert logged[0].signature == signature()


def test_it_answers_as_in_plain_python(
    logged: tuple[ModelInfo, str], served: Callable[[str], Served], events: pd.DataFrame
) -> None:
    model, request = mlflow.pyfunc.load_model(logged[0].model_uri), as_given(events)
    answers = model.predict(request, params={"as_of": AS_OF, "top_k": 4})
    expected = served("mos").recommend(request, as_of=AS_OF, top_k=4)
    pd.testing.assert_frame_equal(answers, expected)


def test_it_answers_its_own_example(logged: tuple[ModelInfo, str], bundle_of: Callable[[str], Path]) -> None:
    answers = mlflow.pyfunc.load_model(logged[0].model_uri).predict(*input_example(bundle_of("mos")))
    assert answers["user_id"].tolist() == ["known", "new"]
    assert [read["read"] for read in answers["events"]] == [3, 0]
    assert {len(items) for items in answers["items"]} == {3}


def test_a_request_at_fault_is_an_invalid_parameter(logged: tuple[ModelInfo, str]) -> None:
    model = mlflow.pyfunc.load_model(logged[0].model_uri)
    with pytest.raises(MlflowException, match="row 0: ts is 'soon'") as told:
        model.predict(pd.DataFrame([EVENT | {"ts": "soon"}]))
    assert told.value.error_code == "INVALID_PARAMETER_VALUE"


@pytest.fixture(scope="module")
def port(logged: tuple[ModelInfo, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Where ``mlflow models serve`` listens, started away from the checkout."""
    with serving(logged[0].model_uri, logged[1], tmp_path_factory.mktemp("server")) as server:
        yield server.port


def ask(port: int, body: Any, kind: str = "application/json") -> tuple[int, str]:
    """Status and text of the answer to a body: bytes, or what JSON can hold."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{port}/invocations", data, {"Content-Type": kind})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_every_form_of_a_request_gets_the_same_answer(port: int, served: Callable[[str], Served]) -> None:
    rows = [EVENT, EVENT | {"user_id": "v", "item_id": "i2"}, EVENT | {"item_id": "i3"}]
    columns = {name: [row[name] for row in rows] for name in EVENT}
    forms: list[dict[str, Any]] = [
        {"dataframe_records": rows},
        {"dataframe_split": {"columns": list(EVENT), "data": [list(row.values()) for row in rows]}},
        {"inputs": columns},
        {"inputs": rows},
        {"inputs": columns | {"ts": [1709856000000] * 3}, "params": {"ts_unit": "ms"}},
    ]
    expected = served("mos").recommend(rows, as_of=AS_OF, top_k=3)
    for form in forms:
        form["params"] = form.get("params", {}) | {"as_of": AS_OF, "top_k": 3}
        status, text = ask(port, form)
        assert status == 200, text
        answers = json.loads(text)["predictions"]
        assert [answer["user_id"] for answer in answers] == ["u", "v"]
        for answer, own in zip(answers, expected.to_dict("records"), strict=True):
            assert answer["scores"] == pytest.approx(own["scores"], rel=1e-5)
            assert {name: answer[name] for name in answer if name not in ("scores", "strands")} == {
                name: own[name] for name in own if name not in ("scores", "strands")
            }


def records(*rows: Any, **params: Any) -> dict[str, Any]:
    return {"dataframe_records": list(rows), "params": params}


MALFORMED: dict[str, tuple[Any, str]] = {
    "cut off": (b'{"dataframe_records": [{"user_id":', "valid JSON"),
    "no text": (b"\xff\xfe\x00", "valid JSON"),
    "nothing": (b"", "valid JSON"),
    "a list": ([EVENT], "Received a list"),
    "an empty object": ({}, "JSON dictionary with exactly one of the input fields"),
    "two forms": ({"dataframe_records": [EVENT], "inputs": {}}, "exactly one of the input fields"),
    "records of text": ({"dataframe_records": "junk"}, "must be a list of records"),
    "records of numbers": (records(1, 2), "Model is missing inputs"),
    "no rows": (records(), "Model is missing inputs"),
    "a missing field": (records({"user_id": "u", "item_id": "i"}), "missing inputs ['ts']"),
    "a wrong field": (records({"user": "u", "item_id": "i", "ts": 1}), "missing inputs ['user_id']"),
    "a split of the wrong width": (
        {"dataframe_split": {"columns": list(EVENT), "data": [["u"]]}}, "not a valid dataframe"),
    "columns of unlike length": (
        {"inputs": {"user_id": ["u"], "item_id": ["i", "j"], "ts": ["t"]}}, "the columns differ in length"),
    "no user": (records(EVENT, EVENT | {"user_id": None}), "row 1: user_id is missing"),
    "an item without a time": (records(EVENT | {"ts": None}), "row 0: item_id is given without ts"),
    "NaN": (b'{"dataframe_records": [{"user_id": "u", "item_id": NaN, "ts": "2024-03-08"}]}',
            "row 0: ts is given without item_id"),
    "a flag": (records(EVENT | {"item_id": True}), "row 0: item_id is True (bool)"),
    "nested junk": (records(EVENT | {"item_id": {"a": [{"b": None}]}}), "row 0: item_id is {'a'"),
    "a list for a time": (records(EVENT | {"ts": [1, [2]]}), "row 0: ts is [1, [2]]"),
    "a negative time": (records(EVENT, EVENT | {"ts": -5}, ts_unit="s"), "row 1: ts is -5"),
    "a huge time": (records(EVENT | {"ts": 10**40}, ts_unit="us"), "row 0: ts is 10000"),
    "an endless time": (b'{"dataframe_records": [{"user_id": "u", "item_id": "i", "ts": Infinity}]}',
                        "row 0: ts is the number inf"),
    "a time in words": (records(EVENT | {"ts": "last week"}), "row 0: ts is 'last week'"),
    "half a character": (records(EVENT | {"item_id": "\ud800"}), "which UTF-8 cannot hold"),
    "no places": (records(EVENT, top_k=0), "top_k = 0; give a whole number from 1"),
    "places in words": (records(EVENT, top_k="ten"), "top_k"),
    "a time of asking in words": (records(EVENT, as_of="now"), "as_of is 'now'"),
    "an unknown unit": (records(EVENT, ts_unit="weeks"), "ts_unit = 'weeks'"),
    "parameters as a list": ({"dataframe_records": [EVENT], "params": [5]}, "must be a dictionary"),
    "too many users": (records(*(EVENT | {"user_id": f"u{n}"} for n in range(1_001))), "1,001 users in one"),
}  # fmt: skip


@pytest.mark.parametrize("case", MALFORMED)
def test_a_malformed_request_is_refused_in_words(port: int, case: str) -> None:
    body, message = MALFORMED[case]
    status, text = ask(port, body)
    told = json.loads(text)
    assert status == 400 and message in told["message"], text
    assert "Traceback" not in text


def test_the_server_lives_on(port: int) -> None:
    for body, _ in MALFORMED.values():
        ask(port, body)
    assert ask(port, b"<events/>", "text/xml")[0] == 415
    unknown = [EVENT | {"user_id": "nobody", "item_id": "never seen", "event_type": "liked"}]
    for rows in ([EVENT], unknown, [{"user_id": "new", "item_id": None, "ts": None}]):
        status, text = ask(port, records(*rows, as_of=AS_OF, top_k=2))
        assert status == 200 and len(json.loads(text)["predictions"][0]["items"]) == 2


@pytest.mark.slow
def test_a_consumer_with_only_the_logged_requirements(folder: Path, tmp_path: Path) -> None:
    """A fresh environment, away from the checkout: installs torch."""
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    python = tmp_path / "venv/bin/python"
    wanted = ["-r", str(folder / "requirements.txt")]
    subprocess.run([python, "-m", "pip", "install", "-q", "uv"], check=True)
    subprocess.run(
        [tmp_path / "venv/bin/uv", "pip", "install", "-q", "--python", python, *wanted], check=True
    )
    code = (
        "import importlib.util as u, json, sys, mlflow; "
        f"m = mlflow.pyfunc.load_model({str(folder)!r}); "
        f"a = m.predict([{EVENT!r}], params={{'as_of': {AS_OF!r}, 'top_k': 2}}); "
        "there = [n for n in ('pyspark', 'deltalake', 'petastorm') if u.find_spec(n)]; "
        "print(json.dumps([a['items'][0], there]))"
    )
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [python, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    items, there = json.loads(done.stdout.splitlines()[-1])
    assert len(items) == 2 and there == []
