"""What a search has found: a table of its trials, a file of them, and Optuna's pictures."""

from __future__ import annotations

import csv
import io
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import optuna
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from vae_builder.search.records import Objective
from vae_builder.search.search import SearchResult
from vae_builder.search.storage import REASON, RETRY_OF
from vae_runtime.files.atomic_files import replacing, replacing_path

TRIALS_FILE: Final = "trials.csv"
HISTORY_PICTURE: Final = "history.png"
IMPORTANCES_PICTURE: Final = "importances.png"

MIN_TRIALS: Final = 4
"""Finished trials from which the importance of options can be told."""

STATES: Final = {
    TrialState.COMPLETE: "finished",
    TrialState.PRUNED: "stopped",
    TrialState.FAIL: "failed",
    TrialState.RUNNING: "running",
    TrialState.WAITING: "waiting",
}


def trials_table(result: SearchResult, most: int = 10) -> str:
    """Return the best finished trials as a table, best first, and how many others there are."""
    study = result.study
    trials = study.get_trials(deepcopy=False)
    finished = sorted(
        (t for t in trials if t.state is TrialState.COMPLETE), key=lambda t: _rank(study, t)
    )
    names = sorted({name for trial in finished for name in trial.params})
    rows = [["trial", result.objective, *names, "seconds"]]
    for trial in finished[:most]:
        seconds = trial.duration.total_seconds() if trial.duration else 0.0
        values = [_text(trial.params.get(name, "")) for name in names]
        rows.append([str(trial.number), f"{trial.values[0]:.4f}", *values, f"{seconds:.0f}"])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True))
        for row in rows
    ]
    counts = {
        word: sum(t.state is state and RETRY_OF not in t.user_attrs for t in trials)
        for state, word in STATES.items()
    }
    counts["failed"] = sum(REASON in t.user_attrs for t in trials)
    counts["finished"] = len(finished)
    lines.append(", ".join(f"{count} {word}" for word, count in counts.items() if count))
    return "\n".join(lines)


def describe_trial(trial: FrozenTrial, objective: Objective) -> str:
    """Return a line about a trial that has ended."""
    if trial.state is TrialState.COMPLETE:
        return f"trial {trial.number}: {objective} {trial.values[0]:.4f}"
    if reason := trial.user_attrs.get(REASON):
        return f"trial {trial.number}: failed: {reason}"
    return f"trial {trial.number}: stopped, because others are better at this epoch"


def write_report(result: SearchResult) -> list[Path]:
    """Write `trials.csv`, and the pictures that the trials allow; return their paths."""
    path, study = result.path / TRIALS_FILE, result.study
    trials = study.get_trials(deepcopy=False)
    names = sorted({name for trial in trials for name in trial.params})
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["trial", "state", result.objective, *names, "seconds", REASON])
    for trial in trials:
        seconds = f"{trial.duration.total_seconds():.1f}" if trial.duration else ""
        value = trial.values[0] if trial.state is TrialState.COMPLETE else ""
        values = [trial.params.get(name, "") for name in names]
        reason = trial.user_attrs.get(REASON, "")
        writer.writerow([trial.number, STATES[trial.state], value, *values, seconds, reason])
    with replacing(path) as file:
        file.write(text.getvalue().encode())
    from optuna.visualization import matplotlib as pictures

    written, label = [path], "validation loss" if result.objective == "loss" else "AUROC"
    history = result.path / HISTORY_PICTURE
    _draw(history, lambda: pictures.plot_optimization_history(study, target_name=label))
    written.append(history)
    finished = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if len(finished) >= MIN_TRIALS and len(names) > 1:
        importances = result.path / IMPORTANCES_PICTURE
        _draw(importances, lambda: pictures.plot_param_importances(study, target_name=label))
        written.append(importances)
    return written


def _draw(path: Path, plot: Callable[[], Any]) -> None:
    """Write one of Optuna's pictures."""
    import matplotlib

    with warnings.catch_warnings(), matplotlib.rc_context({"figure.figsize": (7.0, 4.5)}):
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        matplotlib.use("Agg")
        axes = plot()
        figure = axes.figure
        with replacing_path(path, ".png") as temporary:
            figure.savefig(temporary, dpi=120, bbox_inches="tight")
        from matplotlib import pyplot

        pyplot.close(figure)


def _rank(study: Study, trial: FrozenTrial) -> float:
    value = float(trial.values[0])
    return value if study.direction is StudyDirection.MINIMIZE else -value


def _text(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
