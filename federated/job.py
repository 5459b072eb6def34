"""The NVFlare job folder: two JSON files of numbers and two class names. No code, no bundle, no data goes into it.

    JOB/meta.json
    JOB/app/config/config_fed_server.json, config_fed_client.json

NVFlare lets a job without code name only classes that a site has allowed (`class_allow_list` in `local/resources.json`):
`PERMISSIONS` allows the two that this job needs. NVFlare also sends a site's log to the server unless the site forbids it
(`allow_log_streaming`), and a log names children and paths: here it is forbidden, and `SiteExecutor` works nowhere else.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from federated.messages import TASKS
from federated.plan import Plan
from scripts.files import write_atomically

CONTROLLER, EXECUTOR = "federated.controller.FederatedController", "federated.executor.SiteExecutor"
PERMISSIONS: dict[str, Any] = {"class_allow_list": [CONTROLLER, EXECUTOR], "allow_log_streaming": False}


def write_job(
    folder: Path,
    plan: Plan,
    *,
    server: Mapping[str, Any] | None = None,
    client: Mapping[str, Any] | None = None,
    executor: str = EXECUTOR,
    result_filters: Sequence[Mapping[str, Any]] = (),
) -> Path:
    """Write the job.

    Args:
        folder: of the job; its name is the job's.
        plan: the training's settings.
        server: further arguments of the controller.
        client: further arguments of the executor.
        executor: class path of the client's side; the simulator has another.
        result_filters: NVFlare filters of what leaves a site, {"path": class, "args": {...}}.

    Returns:
        The folder.
    """
    meta = {
        "name": folder.name,
        "resource_spec": {},
        "min_clients": plan.min_sites,
        "deploy_map": {"app": ["@ALL"]},
    }
    workflow = {"id": "federated", "path": CONTROLLER, "args": {"plan": plan.to_dict(), **(server or {})}}
    common = {"format_version": 2, "task_data_filters": [], "components": []}
    # By name: NVFlare takes "*" for executors, and for filters without a word as a task that there is not.
    filters = [{"tasks": list(TASKS), "filters": [dict(one) for one in result_filters]}] if result_filters else []
    on_site = {
        **common,
        "executors": [{"tasks": ["*"], "executor": {"path": executor, "args": dict(client or {})}}],
        "task_result_filters": filters,
    }
    on_server = {**common, "workflows": [workflow], "task_result_filters": []}
    files = {
        "meta.json": meta,
        "app/config/config_fed_server.json": on_server,
        "app/config/config_fed_client.json": on_site,
    }
    for name, content in files.items():
        write_atomically(folder / name, json.dumps(content, indent=2) + "\n")
    return folder
