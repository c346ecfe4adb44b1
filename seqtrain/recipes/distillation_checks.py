"""What a distillation cannot do, told before anything is trained."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from seqtrain.batching import Examples
from seqtrain.config import DistillConfig
from seqtrain.errors import InputError
from seqtrain.models.aligned_head import AlignedHeadConfig
from seqtrain.models.network import Network
from seqtrain.recipes.teachers import TeacherRun, says_bins, teacher_length
from seqtrain.recipes.training_examples import curriculum_of, goes_by_column, option_that_moves
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
    if config.adversarial is not None:
        raise InputError(
            f"--adversarial {config.adversarial}: the teacher would not see what the student sees; leave it out"
        )
    _check_similarity(config)
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
    if config.curriculum is not None and goes_by_column(curriculum_of(config.curriculum)):
        raise InputError(
            f"--curriculum {config.curriculum}: --unlabeled {shown} have no columns; use shortest-first, or "
            "automatic:by=length"
        )


def _check_similarity(config: DistillConfig) -> None:
    if config.similarity is None:
        if config.similarity_steps is not None:
            raise InputError(
                f"--similarity-steps {config.similarity_steps}: are of what --similarity compares by; give "
                "--similarity 10, or leave it out"
            )
        return
    said = f"--similarity {config.similarity:g}"
    if not config.augment:
        raise InputError(
            f"{said}: compares sequences with augmented ones; say how they are augmented, such as --augment "
            "matrix-substitution:rate=0.1"
        )
    if config.mix:
        raise InputError(f"{said}: with --mix {config.mix} a sequence is two at once; leave one of the two out")
    if config.teacher_input == "clean":
        raise InputError(f"{said}: the teacher has to see augmented sequences; leave --teacher-input clean out")
    if config.cache_teacher:
        raise InputError(
            f"{said}: the teacher's input changes from epoch to epoch by --augment {config.augment[0]}; leave "
            "--cache-teacher out"
        )
    if (config.curriculum or "").partition(":")[0].strip() == "automatic":
        raise InputError(
            f"{said}: --curriculum {config.curriculum} shows one group in a step, and similarities are among all; "
            "leave one of the two out"
        )


def check_examples(config: DistillConfig, runs: Sequence[TeacherRun], student: Network, examples: Examples) -> None:
    """Refuse inputs that a teacher cannot be asked about, or not as the options want it.

    Raises:
        InputError: longer inputs than a teacher reads, mixtures that it cannot read, or answers that do not stay.
    """
    if config.similarity is not None and examples.per_residue:
        raise InputError(
            f"--similarity {config.similarity:g}: compares whole sequences, and there is one label per residue here; "
            "leave it out"
        )
    _check_places(config, runs, student, examples)
    longest = min(config.max_length, int(examples.spans.lengths.max()))
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


def _check_places(config: DistillConfig, runs: Sequence[TeacherRun], student: Network, examples: Examples) -> None:
    """Refuse sequences whose letters would not be at the positions that a head has weights for."""
    # Those that are held out, too: the teacher is scored on them.
    longest = int(np.diff(examples.store.offsets).max())
    teachers = [(f"--teacher {run.name}", network.head.config) for run in runs for network in run.networks]
    for whose, head in [*teachers, ("the student", student.head.config)]:
        if isinstance(head, AlignedHeadConfig) and longest > head.length:
            raise InputError(
                f"{', '.join([config.table, *config.unlabeled])}: has a sequence of {longest:,} letters, and the head "
                f"of {whose} has weights for {head.length:,} positions; leave those out, or take another head"
            )
    aligned = [whose for whose, head in teachers if isinstance(head, AlignedHeadConfig)]
    if not aligned:
        return
    if longest > (windows := teacher_length(runs)):
        raise InputError(
            f"{aligned[0]}: has weights for positions, and another teacher reads windows of {windows:,} letters, less "
            f"than the {longest:,} of the longest sequence; leave one of the two out"
        )
    option = option_that_moves(config, examples.encoder.alphabet)
    if longest > config.max_length:
        option = f"--max-length {config.max_length}"
    if option is not None and config.teacher_input == "same":
        raise InputError(
            f"{option}: moves letters away from the positions that the head of {aligned[0]} has weights for; leave it "
            "out, or pass --teacher-input clean"
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
