"""NVFlare's client side: hands the server's tasks to the `Site`, and what that returns to NVFlare."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nvflare.apis.event_type import EventType
from nvflare.apis.executor import Executor
from nvflare.apis.fl_constant import FLContextKey, ReturnCode
from nvflare.apis.fl_context import FLContext
from nvflare.apis.shareable import Shareable, make_reply
from nvflare.apis.signal import Signal
from nvflare.app_common.logging.constants import is_log_streaming_allowed

from federated.faults import Interrupted, SiteFault
from federated.messages import TASKS, answer_message, fault_message, read_task
from federated.plan import Plan
from federated.site import Site
from federated.site_file import read_site

SITE_FILE = "etscnet_site.json"  # in the folder `local` of a site's NVFlare workspace


class SiteExecutor(Executor):  # type: ignore[misc]  # nvflare has no types
    """A hospital in an NVFlare job. The bundle is the hospital's own: no code and no configuration comes with the job.

    Nor does a path: a job can give this class no argument. The site's file is `local/etscnet_site.json` of its NVFlare workspace,
    where the hospital puts it, and what stays at the site goes to the folder `etscnet` of the job's folder there.
    """

    def __init__(self) -> None:
        super().__init__()
        self._site: Site | None = None
        self._plan: dict[str, Any] = {}
        self._abort: Signal | None = None

    def places(self, fl_ctx: FLContext) -> tuple[Path, Path]:
        """The site's file, and where its models and predictions go."""
        workspace = fl_ctx.get_prop(FLContextKey.WORKSPACE_OBJECT)
        job = Path(workspace.get_run_dir(fl_ctx.get_job_id()))
        return Path(workspace.get_site_config_dir()) / SITE_FILE, job / "etscnet"

    def execute(self, task_name: str, shareable: Shareable, fl_ctx: FLContext, abort_signal: Signal) -> Shareable:
        """Do one of `TASKS`."""
        if task_name not in TASKS:
            return make_reply(ReturnCode.TASK_UNKNOWN)
        self._abort = abort_signal
        try:
            weights, numbers = read_task(shareable)
            return answer_message(self.work(task_name, weights, numbers, fl_ctx))
        except Interrupted:
            self._close()
            return make_reply(ReturnCode.TASK_ABORTED)
        except SiteFault as fault:
            self.log_exception(fl_ctx, f"{task_name}: {fault}")
            return fault_message(str(fault))
        except Exception as error:  # whatever goes wrong here is this site's failure; the others go on
            self.log_exception(fl_ctx, f"{task_name}: {type(error).__name__}: {error}")
            self._close()
            return fault_message(f"{type(error).__name__} at the site; its own log says more")

    def work(self, task: str, weights: dict[str, Any], numbers: dict[str, Any], fl_ctx: FLContext) -> dict[str, Any]:
        """What the site answers to a task."""
        site = self._prepared(dict(numbers["plan"]), fl_ctx)
        if task == "describe":
            return site.describe()
        if task == "train":
            return site.train(weights, int(numbers["round"]))
        if task == "validate":
            return {"spread": site.validate(weights, int(numbers["round"]))}
        if task == "count":
            return site.count(numbers["edges"])
        best = {str(name): int(round_) for name, round_ in numbers["best_rounds"].items()}
        if task == "fuse":
            return site.fuse(weights, best)
        return {"metrics": site.evaluate(weights, best, numbers["found"], edges=numbers["edges"])}

    def handle_event(self, event_type: str, fl_ctx: FLContext) -> None:
        """End the bundle's workflow with the job."""
        if event_type == EventType.END_RUN:
            self._close()

    def _prepared(self, plan: dict[str, Any], fl_ctx: FLContext) -> Site:
        if is_log_streaming_allowed(fl_ctx):
            raise SiteFault(
                "it lets NVFlare send its log to the server: set allow_log_streaming to false in resources.json"
            )
        if self._site is None or self._plan != plan:
            self._close()
            file, work = self.places(fl_ctx)
            self._site = Site(
                read_site(file),
                Plan.of(plan),
                work,
                interrupted=lambda: bool(self._abort is not None and self._abort.triggered),
            )
            self._plan = plan
        return self._site

    def _close(self) -> None:
        if self._site is not None:
            self._site.close()
        self._site = None
