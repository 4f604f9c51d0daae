"""Which stages of a run have to run, which may have to, and which cannot."""

from dataclasses import dataclass, field

from stages import StageError, Stages, needs


@dataclass(frozen=True)
class Plan:
    """Each stage is in one of the four groups, or is up to date."""

    runs: dict[str, str] = field(default_factory=dict)  # why
    may_run: dict[str, list[str]] = field(default_factory=dict)  # where one of these stages makes another result
    broken: dict[str, str] = field(default_factory=dict)  # what is wrong with its code
    blocked: dict[str, list[str]] = field(default_factory=dict)  # by these stages

    @property
    def scheduled(self) -> dict[str, list[str]]:
        """The stages to hand to Snakemake, each with those of them that come before it."""
        stages = [*self.runs, *self.may_run]
        return {name: [other for other in needs(name) if other in stages] for name in sorted(stages)}

    def status(self, notebook: str) -> str:
        """What happens to a stage, in words."""
        if notebook in self.runs:
            return f"runs: {self.runs[notebook]}"
        if notebook in self.may_run:
            return f"runs if {_listed(self.may_run[notebook])} makes another result than before"
        if notebook in self.broken:
            return f"cannot run: {self.broken[notebook]}"
        if notebook in self.blocked:
            return f"cannot run: it needs {_listed(self.blocked[notebook])}"
        return "up to date"


def make(stages: Stages, targets: list[str], forced: list[str]) -> Plan:
    """targets: the stages that are asked for, in the order of the paper, with all that they need. forced: those that
    run in any case."""
    plan = Plan()
    for notebook in targets:
        scheduled = {*plan.runs, *plan.may_run}
        before = [other for other in needs(notebook) if other in scheduled]
        try:
            reason = stages.why(notebook, remade=scheduled)
        except StageError as error:
            plan.broken[notebook] = str(error)
            continue
        if blockers := [other for other in needs(notebook) if other in {*plan.broken, *plan.blocked}]:
            plan.blocked[notebook] = blockers
        elif notebook in forced:
            plan.runs[notebook] = reason or "--from asks for it"
        elif reason:
            plan.runs[notebook] = reason
        elif before:
            plan.may_run[notebook] = before
    return plan


def _listed(names: list[str]) -> str:
    return " or ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
