"""What a distillation cannot do, told before anything is trained."""

from __future__ import annotations

from collections.abc import Sequence

from seqtrain.batching import Examples
from seqtrain.config import DistillConfig
from seqtrain.errors import InputError
from seqtrain.models.aligned_head import AlignedHeadConfig
from seqtrain.models.network import Network
from seqtrain.recipes.teachers import TeacherRun, says_bins
from seqtrain.tasks import Regression, Task

_TEMPERATURE = 2.0


def settled_temperature(config: DistillConfig, student: Task, runs: Sequence[TeacherRun]) -> float | None:
    """The temperature that was asked for, or 2; None where the teacher says numbers and nothing is softened.

    Raises:
        InputError: a temperature for numbers.
    """
    if not isinstance(student, Regression) or says_bins(runs, student):
        return config.temperature or _TEMPERATURE
    if config.temperature is not None:
        raise InputError(
            f"--temperature {config.temperature:g}: softens probabilities, and this is {student.words}; leave it out"
        )
    return None


def check_options(config: DistillConfig) -> None:
    """Refuse what cannot be done whatever the data are.

    Raises:
        InputError: options that contradict each other.
    """
    if config.members > 1 or config.bagging != "none" or config.member is not None:
        raise InputError("--members, --bagging: a student is one network; leave them out, the teacher may be several")
    if config.resample is not None:
        raise InputError(f"--resample {config.resample}: is for finetuning; a teacher sees sequences, so leave it out")
    if not config.unlabeled:
        return
    shown = ", ".join(config.unlabeled)
    if config.hard_fraction == 1:
        raise InputError(f"--hard-fraction 1: nothing would be learnt from --unlabeled {shown}; take less than 1")
    if config.sampling != "natural":
        raise InputError(
            f"--sampling {config.sampling}: shares are of labelled records, which --unlabeled {shown} are not; leave "
            "one of the two out"
        )
    if (config.mix or "").partition(":")[0].strip() == "remix":
        raise InputError(
            f"--mix {config.mix}: compares the sizes of classes, and --unlabeled {shown} have none; use mixup"
        )
    if (config.curriculum or "").partition(":")[0].strip() == "easiest-first":
        raise InputError(f"--curriculum {config.curriculum}: --unlabeled {shown} have no columns; use shortest-first")


def check_examples(config: DistillConfig, runs: Sequence[TeacherRun], student: Network, examples: Examples) -> None:
    """Refuse inputs that a teacher cannot be asked about, or not as the options want it.

    Raises:
        InputError: longer inputs than a teacher reads, mixtures that it cannot read, or answers that do not stay.
    """
    longest = min(config.max_length, int(examples.spans.lengths.max()))
    heads = [(f"--teacher {run.name}", network.head.config) for run in runs for network in run.networks]
    for whose, head in [*heads, ("the student", student.head.config)]:
        if isinstance(head, AlignedHeadConfig) and longest > head.length:
            raise InputError(
                f"{', '.join(config.unlabeled) or config.table}: has a sequence of {longest:,} letters, and the "
                f"head of {whose} has weights for {head.length:,} positions; leave those out, or take another head"
            )
    for run in runs:
        if config.teacher_input == "same" and longest > run.run.max_length:
            raise InputError(
                f"--teacher {run.name}: reads {run.run.max_length:,} letters at once, the student up to {longest:,}; "
                f"pass --max-length {run.run.max_length}"
                + ("" if examples.per_residue else ", or --teacher-input clean, which reads in windows")
            )
        ngrams = any(getattr(network.body.config, "input", None) == "ngram" for network in run.networks)
        if examples.mixing is not None and ngrams:
            raise InputError(
                f"--mix {config.mix}: --teacher {run.name} reads n-grams, which cannot be mixed; leave it out"
            )
    if config.teacher_input == "clean":
        if examples.per_residue:
            raise InputError(
                "--teacher-input clean: answers per residue belong to the residues of the augmented sequence; use same"
            )
        if examples.mixing is not None:
            raise InputError(
                f"--teacher-input clean: with --mix {config.mix} the input is two sequences at once; use same, or "
                "leave --mix out"
            )
    elif config.cache_teacher and (why := _changing(config, examples)):
        raise InputError(
            f"--cache-teacher: the teacher's input changes from epoch to epoch by {why}; leave one of the two out, or "
            "take --teacher-input clean"
        )


def _changing(config: DistillConfig, examples: Examples) -> str:
    """What makes an input another one in every epoch; "" where nothing does."""
    if config.augment:
        return f"--augment {config.augment[0]}"
    if examples.mixing is not None:
        return f"--mix {config.mix}"
    if examples.length_at is not None:
        return f"--curriculum {config.curriculum}"
    return "--long crop" if config.long == "crop" and int(examples.spans.lengths.max()) > config.max_length else ""
