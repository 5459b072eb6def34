"""NVFlare's client side: what it says when something goes wrong, and that a log is not let go."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from nvflare.apis.fl_constant import ReturnCode
from nvflare.apis.fl_context import FLContext
from nvflare.apis.shareable import Shareable
from nvflare.apis.signal import Signal

from federated import executor
from federated.faults import SiteFault
from federated.messages import FAULT, fault_message, task_message
from federated.rehearsal import SimulatedExecutor
from tests.federated.hospitals import small_plan


def asked(task: str, site_file: Path, tmp_path: Path) -> Shareable:
    message = task_message(small_plan().to_dict(), weights=None, numbers={"round": 0})
    made = SimulatedExecutor(str(site_file), str(tmp_path))
    return made.execute(task, message, FLContext(), Signal())


def test_a_site_whose_log_nvflare_may_send_does_nothing(tmp_path: Path) -> None:
    reply = asked("describe", tmp_path / "none.json", tmp_path)
    assert reply.get_return_code() == ReturnCode.EXECUTION_EXCEPTION
    assert "set allow_log_streaming to false" in reply[FAULT]


def test_a_fault_with_a_path_in_it_stays_in_the_sites_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executor, "is_log_streaming_allowed", lambda _: False)
    reply = asked("describe", tmp_path / "none.json", tmp_path)
    assert reply[FAULT] == "InputError at the site; its own log says more"
    assert str(tmp_path) not in str(dict(reply))


def test_a_sites_own_sentence_goes_to_the_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> dict[str, Any]:
        raise SiteFault("it has no controlled child")

    monkeypatch.setattr(SimulatedExecutor, "work", broken)
    assert asked("train", tmp_path, tmp_path)[FAULT] == "it has no controlled child"
    assert len(fault_message("x" * 1000)[FAULT]) == 300


def test_a_task_that_nobody_knows_is_refused(tmp_path: Path) -> None:
    assert asked("send_images", tmp_path, tmp_path).get_return_code() == ReturnCode.TASK_UNKNOWN
