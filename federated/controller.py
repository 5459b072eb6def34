"""NVFlare's server side: sends the `FederatedServer`'s tasks to the sites and brings it their answers."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from nvflare.apis.client import Client
from nvflare.apis.controller_spec import ClientTask, Task
from nvflare.apis.fl_constant import FLContextKey, ReturnCode
from nvflare.apis.fl_context import FLContext
from nvflare.apis.impl.controller import Controller
from nvflare.apis.shareable import Shareable
from nvflare.apis.signal import Signal

from federated.aggregation import Weights
from federated.asking import Answer
from federated.messages import FAULT, REASON_LENGTH, read_answer, task_message
from federated.plan import Plan
from federated.server import FederatedServer
from federated.start import exchanged_for, starting_network
from scripts.errors import CohortError, InputError
from scripts.files import write_atomically


class FederatedController(Controller):  # type: ignore[misc]  # nvflare has no types
    """The workflow of the job.

    Args:
        plan: of `Plan.to_dict`.
        output_dir: of the server's files; empty: the job's folder, from where NVFlare's admin can download it.
        checkpoint: weights to begin with; empty: the untrained network by the plan's seed.
        bundle_root: of the server's own bundle; empty: the one beside this package.
    """

    def __init__(self, plan: dict[str, Any], output_dir: str = "", checkpoint: str = "", bundle_root: str = "") -> None:
        super().__init__()
        self._plan, self._output_dir = plan, output_dir
        self._checkpoint, self._bundle_root = checkpoint, bundle_root
        self._abort: Signal | None = None
        self._ctx: FLContext | None = None
        self._answers: dict[str, Answer] = {}

    def start_controller(self, fl_ctx: FLContext) -> None:
        """Nothing to begin with: everything needs the plan, whose faults are told in the job's run."""

    def stop_controller(self, fl_ctx: FLContext) -> None:
        """Every round is on disk already."""

    def control_flow(self, abort_signal: Signal, fl_ctx: FLContext) -> None:
        """The whole training."""
        self._abort, self._ctx = abort_signal, fl_ctx
        workspace = fl_ctx.get_prop(FLContextKey.WORKSPACE_OBJECT)
        output = Path(self._output_dir or workspace.get_run_dir(fl_ctx.get_job_id()))
        fault = output / "fault.txt"
        fault.unlink(missing_ok=True)
        try:
            plan = Plan.of(self._plan)
            network = starting_network(plan, bundle_root=self._bundle_root, checkpoint=self._checkpoint)
            server = FederatedServer(
                plan,
                network,
                exchanged=exchanged_for(network, plan),
                output_dir=output,
                say=lambda text: self.log_info(fl_ctx, text),
            )
            server.run(self._ask)
        except (InputError, CohortError) as error:
            write_atomically(fault, f"{error}\n")
            self.system_panic(str(error), fl_ctx)

    def process_result_of_unknown_task(
        self, client: Client, task_name: str, client_task_id: str, result: Shareable, fl_ctx: FLContext
    ) -> None:
        """An answer that came after its round: it was trained from weights of the past, and is not used."""
        self.log_warning(fl_ctx, f"{client.name} answered {task_name} too late: not used")

    def _ask(
        self,
        task: str,
        *,
        weights: Weights | None,
        numbers: Mapping[str, Any],
        timeout_s: int,
        sites: Collection[str] | None = None,
    ) -> Mapping[str, Answer]:
        if self._ctx is None or self._abort is None or self._abort.triggered:
            raise InputError("the job was stopped", expected="a job that runs", remedy="Start it again: it goes on.")
        self._answers = {}
        message = task_message(self._plan, weights=weights, numbers=numbers)
        asked = Task(name=task, data=message, timeout=timeout_s, result_received_cb=self._received)
        there = [client.name for client in self._engine.get_clients()]
        clients = [name for name in there if sites is None or name in sites]
        if not clients:
            return {}
        self.broadcast_and_wait(
            task=asked, fl_ctx=self._ctx, targets=clients, min_responses=0, abort_signal=self._abort
        )
        if self._abort.triggered:
            raise InputError("the job was stopped", expected="a job that runs", remedy="Start it again: it goes on.")
        answers, self._answers = self._answers, {}
        return answers

    def _received(self, client_task: ClientTask, fl_ctx: FLContext) -> None:
        result, site = client_task.result, client_task.client.name
        client_task.result = None  # the weights of every site in memory are enough once
        code = result.get_return_code(ReturnCode.OK)
        if code != ReturnCode.OK:
            reason = str(result.get(FAULT) or code)[:REASON_LENGTH]
            self._answers[site] = Answer("fault", reason=reason)
            return
        try:
            self._answers[site] = Answer("answer", read_answer(result))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            self._answers[site] = Answer("fault", reason=f"an answer that cannot be read ({type(error).__name__})")
