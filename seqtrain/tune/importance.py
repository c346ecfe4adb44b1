"""Which knobs decided the score, in figures and as a picture."""

from __future__ import annotations

import math
from collections.abc import Mapping
from html import escape
from typing import TYPE_CHECKING

from seqtrain.tune.study_folder import quiet

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial

_FEWEST = 4
"""Finished trials below which nothing is said of importance."""
_BAR, _ROW, _TOP = 300, 26, 42


def importances(study: Study) -> tuple[dict[str, float], str]:
    """Shares of the knobs in what decided the score, the largest first, and the method; none from too few trials.

    Where all finished trials have the same knobs, by the variance of a forest of trees over them (fANOVA, Hutter et al.
    2014); where some knobs count only in some trials, by how the best trials are distributed (PED-ANOVA, Watanabe et
    al. 2023). Both as optuna computes them, scaled to a sum of 1.
    """
    import optuna

    finished = [each for each in study.get_trials(deepcopy=False) if each.state.name == "COMPLETE"]
    if len(finished) < _FEWEST or len({_score(each) for each in finished}) < 2:
        return {}, ""
    alike = len({frozenset(each.params) for each in finished}) == 1
    try:
        with quiet():
            evaluator = (
                optuna.importance.FanovaImportanceEvaluator(seed=0)
                if alike
                else optuna.importance.PedAnovaImportanceEvaluator()
            )
            found = optuna.importance.get_param_importances(study, evaluator=evaluator, target=_score)
    except (ValueError, RuntimeError):
        # Neither can say anything where the finished trials agree on every knob.
        return {}, ""
    known = {name: value for name, value in found.items() if math.isfinite(value) and value >= 0}
    return (known, "fANOVA" if alike else "PED-ANOVA") if sum(known.values()) > 0 else ({}, "")


def importance_picture(found: Mapping[str, float], metric: str) -> str:
    """A bar for each knob, as an SVG that stands alone."""
    label = 20 + 7.2 * max(len(name) for name in found)
    width, height = label + _BAR + 60, _TOP + _ROW * len(found) + 8
    largest = max(found.values())
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height}" width="{width:.0f}" '
        f'height="{height}" role="img" font-family="system-ui,sans-serif" font-size="13">',
        f"<title>What decided the {escape(metric)}</title>",
        f'<rect width="{width:.0f}" height="{height}" fill="#ffffff"/>',
        f'<text x="12" y="25" font-size="15" font-weight="600" fill="#1d2228">What decided the {escape(metric)}</text>',
    ]
    for index, (name, share) in enumerate(found.items()):
        y = _TOP + index * _ROW
        length = _BAR * share / largest
        parts.append(f'<text x="{label - 8:.0f}" y="{y + 15}" text-anchor="end" fill="#1d2228">{escape(name)}</text>')
        parts.append(f'<rect x="{label:.0f}" y="{y + 3}" width="{length:.1f}" height="16" rx="2" fill="#22618a"/>')
        parts.append(f'<text x="{label + length + 6:.1f}" y="{y + 15}" fill="#5a636e">{share:.0%}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def _score(trial: FrozenTrial) -> float:
    return float(trial.values[0])
