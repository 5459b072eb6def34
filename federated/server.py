"""The server's side of a federated training: rounds, what it takes and refuses, the choice of the best, the finished model.

No NVFlare here: sites are asked through a function (`Ask`), and what they answer is judged before it is used. The order of the
answers changes nothing. After each round the state is written, and a server that was stopped goes on with the next.

    OUTPUT/state.pt                     global weights, best branches, rounds: a stopped training goes on from here
    OUTPUT/rounds.json, rounds.csv      what became of every round
    OUTPUT/model.pt, model.json         the finished model (without what of batch norm stayed at the sites)
    OUTPUT/sites.json                   each site's own metrics of its own model, and those over all sites
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from federated.aggregation import Weights, average, fault_of_cases, fault_of_update
from federated.asking import Ask
from federated.declared import Declared, declarations
from federated.finish import write_model, write_sites
from federated.histograms import Spread, Told, bound, middles, search
from federated.plan import Plan
from federated.rounds import Round
from federated.state import Best, State, read_state, write_state
from federated.votes import Votes, summed
from federated.weights import exchanged_names, initial_weights
from scripts.errors import InputError
from scripts.fusion import simplex
from scripts.network import ETSCNet
from scripts.stats.roc import auc

PREPARING = 10  # times a round's patience: before the first one every image is preprocessed
VOID_ROUNDS = 3  # in a row, after which the training is given up


class FederatedServer:
    """One federated training.

    Args:
        plan: its settings.
        network: whose weights the training begins with.
        exchanged: the names of the weights that are averaged.
        output_dir: of its files.
        say: told about every round.
    """

    def __init__(
        self,
        plan: Plan,
        network: ETSCNet,
        *,
        exchanged: Sequence[str],
        output_dir: Path,
        say: Callable[[str], object] = print,
    ) -> None:
        self.plan, self.network, self.output_dir, self.say = plan, network, output_dir, say
        self.initial: Weights = initial_weights(network, exchanged_names(network))
        self.weights: Weights = {name: self.initial[name] for name in exchanged}
        self.best: dict[str, Best] = {}
        self.rounds: list[Round] = []
        self.declared: dict[str, Declared] = {}
        self.votes = Votes(plan, self.declared)

    def run(self, ask: Ask) -> dict[str, Any]:
        """All rounds that are left, then fusion, threshold and evaluation.

        Returns:
            What `sites.json` says.

        Raises:
            InputError: sites cannot take part, another plan was begun here, or too few sites answer.
        """
        begun = read_state(self.output_dir, self.plan)
        if begun is not None:
            self.weights, self.best, self.rounds = begun.weights, begun.best, begun.rounds
        numbers = {"round": len(self.rounds)}
        answers = ask("describe", weights=None, numbers=numbers, timeout_s=PREPARING * self.plan.round_timeout_s)
        self.declared = declarations(answers, self.plan)
        self.votes = Votes(self.plan, self.declared)
        while len(self.rounds) < self.plan.rounds:
            self._round(ask)
            self._save()
        self._last_validation(ask)
        return self._finish(ask)

    def _round(self, ask: Ask) -> None:
        number, started = len(self.rounds), time.perf_counter()
        weights = {**self.initial, **self.weights} if number == 0 else self.weights
        answers = ask("train", weights=weights, numbers={"round": number}, timeout_s=self.plan.round_timeout_s)
        updates, losses, spreads, refused, failed = {}, {}, {}, {}, {}
        for site, answer in sorted(answers.items()):
            if site not in self.declared:
                refused[site] = "it never described itself"
            elif answer.kind == "fault":
                failed[site] = answer.reason
            else:
                reason = self._fault(site, answer.data, scored=number > 0)
                if reason is not None:
                    refused[site] = reason
                    continue
                updates[site] = (int(answer.data["cases"]), answer.data["update"])
                losses[site] = float(answer.data["loss"])
                spread = self.votes.spread(site, answer.data.get("spread"))
                if number and isinstance(spread, Spread):
                    spreads[site] = spread
        enough = len(updates) >= self.plan.min_sites
        told = self.votes.counted(ask, {"branches": spreads})["branches"]
        validation, bounds = self._judge(number, told)
        if enough:
            self.weights = average(self.weights, updates)
        cases = {site: count for site, (count, _) in updates.items()}
        before = self.rounds[-1].offences if self.rounds else {}
        offences = {**before, **{site: before.get(site, 0) + 1 for site in refused}}
        loss = sum(losses[site] * cases[site] for site in cases) / sum(cases.values()) if cases else None
        self.rounds.append(
            Round(
                number=number,
                accepted=cases if enough else {},
                refused=refused,
                failed=failed,
                silent=tuple(sorted(set(self.declared) - set(answers))),
                offences=offences,
                changed=enough,
                loss=loss,
                validation=validation,
                bound=bounds,
                voters=tuple(sorted(told)),
                seconds=round(time.perf_counter() - started, 2),
            )
        )
        self.say(str(self.rounds[-1]))
        if len(self.rounds) >= VOID_ROUNDS and not any(one.changed for one in self.rounds[-VOID_ROUNDS:]):
            self._save()
            raise InputError(
                f"{VOID_ROUNDS} rounds in a row had fewer than {self.plan.min_sites} usable answers; the last: {self.rounds[-1]}",
                expected=f"{self.plan.min_sites} sites or more",
                remedy="Look at the sites' logs, then start the same training again: it goes on from here.",
            )

    def _fault(self, site: str, data: Mapping[str, Any], *, scored: bool) -> str | None:
        """Why an answer to "train" cannot be used."""
        declared = self.declared[site]
        reason = fault_of_cases(data.get("cases"), sum(declared.children["training"]))
        reason = reason or fault_of_update(data.get("update"), self.weights)
        loss = data.get("loss")
        if reason is None and not (isinstance(loss, float) and np.isfinite(loss)):
            reason = f"its loss is {loss!r}"
        if reason is None and scored:
            spread = self.votes.spread(site, data.get("spread"))
            reason = spread if isinstance(spread, str) else None
        return reason

    def _judge(self, number: int, told: Mapping[str, Told]) -> tuple[dict[str, float], dict[str, float]]:
        """AUCs of this round's weights over the sites' histograms; branches that are better than before are kept."""
        if not told:
            return {}, {}
        together = summed(told.values())
        children = int(together.counts[0].sum())
        areas, bounds = {}, {}
        for row, modality in enumerate(self.plan.modalities):
            areas[modality] = auc(*middles(together.counts[row]))
            bounds[modality] = bound(together.counts[row])
            loss = float(together.log_loss[row] / children)
            best = self.best.get(modality)
            if best is None or (areas[modality], -loss) > (best.auc, -best.loss):
                branch = {k: v for k, v in self.weights.items() if k.startswith(f"branches.{modality}.")}
                self.best[modality] = Best(number, areas[modality], loss, branch)
        return areas, bounds

    def _last_validation(self, ask: Ask) -> None:
        """The weights after the last round, which no further round scores."""
        number = self.plan.rounds
        numbers = {"round": number}
        answers = ask("validate", weights=self.weights, numbers=numbers, timeout_s=self.plan.round_timeout_s)
        told = {
            site: self.votes.spread(site, one.data.get("spread"))
            for site, one in answers.items()
            if self.votes.usable(site, one)
        }
        spreads = {site: one for site, one in told.items() if isinstance(one, Spread)}
        areas, _ = self._judge(number, self.votes.counted(ask, {"branches": spreads})["branches"])
        self.say(f"after the last round: {', '.join(f'AUC {name} {value:.3f}' for name, value in areas.items())}")
        if not self.best:
            raise InputError(
                "no site has sent a usable histogram of its validation part",
                expected=f"one from {self.plan.min_sites} sites or more",
                remedy=f"Let the sites have {self.plan.min_children} children of each outcome or more in validation.",
            )

    def _finish(self, ask: Ask) -> dict[str, Any]:
        weights: Weights = {}
        for modality in self.plan.modalities:
            weights |= self.best[modality].weights
        rounds = {modality: best.round for modality, best in self.best.items()}
        timeout, numbers = self.plan.round_timeout_s, {"best_rounds": rounds}
        answers = ask("fuse", weights=weights, numbers=numbers, timeout_s=timeout)
        spreads: dict[str, dict[str, Spread]] = {"fused": {}, "branches": {}}
        left_out: dict[str, str] = {}
        for site, answer in sorted(answers.items()):
            found_there = self.votes.spreads_of(site, answer)
            if isinstance(found_there, str):
                left_out[site] = found_there
                continue
            for kind, one in found_there.items():
                spreads[kind][site] = one
        told = self.votes.counted(ask, spreads)
        voters = sorted(told["fused"])
        if len(voters) < min(self.plan.min_sites, len(self.declared)):
            raise InputError(
                f"{len(voters)} sites sent usable histograms ({left_out})",
                expected=f"{self.plan.min_sites} or more",
                remedy="Look at the sites' logs, then start the same training again: it goes on from here.",
            )
        found = search(summed(told["fused"].values()), summed(told["branches"].values()), self.votes.edges["fused"])
        self.say(
            f"fusion weights {found.weights}, threshold {found.threshold}: AUC {found.auc:.3f} ± {found.auc_bound:.3f}"
        )
        for name, value in weights.items():
            self.network.state_dict()[name].copy_(torch.from_numpy(value))
        write_model(self.output_dir, self.network, self.plan, found=found, rounds=rounds, declared=self.declared)
        row = [tuple(weights) for weights in simplex(len(self.plan.modalities)).tolist()].index(found.weights)
        edges = self.votes.edges["fused"][row].tolist()
        asked = {"best_rounds": rounds, "found": found.to_dict(), "edges": edges}
        evaluated = ask("evaluate", weights=weights, numbers=asked, timeout_s=timeout)
        metrics = {
            site: one.data.get("metrics", {}) for site, one in sorted(evaluated.items()) if self.votes.usable(site, one)
        }
        failed = {site: one.reason for site, one in evaluated.items() if one.kind == "fault"}
        return write_sites(
            self.output_dir,
            metrics,
            found=found,
            voters=voters,
            left_out={**left_out, **failed},
            declared=self.declared,
            bins=self.plan.bins,
        )

    def _save(self) -> None:
        write_state(self.output_dir, self.plan, State(self.weights, self.best, self.rounds))
