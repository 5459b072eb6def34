"""What travels, as NVFlare's data exchange objects: the tasks, and what may come back. Nothing else leaves a site.

| task | to the site | from the site |
|---|---|---|
| describe | plan | children by part and outcome, whether synthetic, fingerprint of the configuration, versions |
| train | plan, weights, round | update of the weights, training cases, loss, sums of the validation scores by modality |
| validate | plan, weights, round | sums of the validation scores by modality |
| fuse | plan, weights, best rounds | sums of the validation scores by modality and by weight vector |
| count | plan, edges of bins | validation histograms over these bins, by modality or weight vector |
| evaluate | plan, weights, best rounds, fusion, threshold | metrics with intervals and a histogram, of validation and testing |

An update is a DXO of the kind WEIGHT_DIFF, which NVFlare's own privacy filters take (`task_result_filters` of the job).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nvflare.apis.dxo import DXO, DataKind, from_shareable
from nvflare.apis.fl_constant import ReturnCode
from nvflare.apis.shareable import Shareable, make_reply

from federated.aggregation import Weights

TASKS = ("describe", "train", "validate", "fuse", "count", "evaluate")
FAULT = "fault"
REASON_LENGTH = 300  # characters of a site's sentence


def task_message(plan: Mapping[str, Any], *, weights: Weights | None, numbers: Mapping[str, Any]) -> Shareable:
    """A task for a site."""
    meta = {"plan": dict(plan), **numbers}
    return DXO(DataKind.WEIGHTS, data={} if weights is None else dict(weights), meta=meta).to_shareable()


def read_task(message: Shareable) -> tuple[Weights, dict[str, Any]]:
    """Weights and numbers of a task.

    Raises:
        ValueError: it is no such message.
    """
    dxo = from_shareable(message)
    return dict(dxo.data), dict(dxo.meta)


def answer_message(data: Mapping[str, Any]) -> Shareable:
    """A site's answer: an update where there is one, else figures."""
    rest = {name: value for name, value in data.items() if name != "update"}
    if "update" in data:
        return DXO(DataKind.WEIGHT_DIFF, data=dict(data["update"]), meta=rest).to_shareable()
    return DXO(DataKind.STATISTICS, data=rest).to_shareable()


def fault_message(reason: str) -> Shareable:
    """A site's "I cannot", in a sentence without paths and names."""
    reply = make_reply(ReturnCode.EXECUTION_EXCEPTION)
    reply[FAULT] = reason[:REASON_LENGTH]
    return reply


def read_answer(message: Shareable) -> dict[str, Any]:
    """A site's answer as a dictionary.

    Raises:
        ValueError: it is no such message.
    """
    dxo = from_shareable(message)
    if dxo.data_kind == DataKind.WEIGHT_DIFF:
        return {**dxo.meta, "update": dxo.data}
    return dict(dxo.data)
