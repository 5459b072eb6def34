"""The bundle as a site runs it: MONAI's MonaiAlgo with the plan's settings on the site's own files."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from monai.fl.client import MonaiAlgo
from monai.fl.utils.constants import ExtraItems

from federated.faults import SiteFault
from federated.plan import Plan
from federated.site_file import SiteFile

OVERLAY = Path(__file__).with_name("training.json")


def check_agreement(file: SiteFile, plan: Plan) -> None:
    """Raises SiteFault: the plan is not what the site agreed to."""
    for name in ("modalities", "spatial_size"):
        agreed, planned = getattr(file, name), getattr(plan, name)
        if agreed is not None and tuple(agreed) != tuple(planned):
            raise SiteFault(f"it agreed to {name} {list(agreed)}, the plan has {list(planned)}")
    if plan.bins > file.max_bins:
        raise SiteFault(f"it agreed to {file.max_bins} bins, the plan has {plan.bins}")


def start_bundle(file: SiteFile, plan: Plan, work_dir: Path) -> MonaiAlgo:
    """The bundle's training, initialized, not begun.

    Args:
        file: where bundle and data are.
        plan: settings of the training.
        work_dir: for what the training writes.
    """
    options: dict[str, Any] = {
        "bundle_root": str(file.bundle_root),
        "dataset_dir": str(file.dataset_dir),
        "datalist": str(file.datalist),
        "output_dir": str(work_dir),
        "cache_dir": str(file.cache_dir),
        "brain_extraction": file.brain_extraction,
        "modalities": list(plan.modalities),
        "spatial_size": list(plan.spatial_size),
        "epochs": plan.rounds * plan.local_epochs,
        **{name: getattr(plan, name) for name in ("seed", "batch_size", "learning_rate", "learning_rate_decay")},
    }
    if file.device:
        options["device"] = f"$torch.device({file.device!r})"
    algo = MonaiAlgo(
        bundle_root=str(file.bundle_root),
        local_epochs=plan.local_epochs,
        config_train_filename=["configs/train.json", str(OVERLAY)],
        train_kwargs=options,
        config_evaluate_filename=None,
    )
    with warnings.catch_warnings():  # it warns of configurations that a server provides: this one is the site's own
        warnings.filterwarnings("ignore", message="executing the bundle config")
        algo.initialize(extra={ExtraItems.CLIENT_NAME: file.name})  # type: ignore[no-untyped-call]
    return algo
