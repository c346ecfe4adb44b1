"""The group of commands; each is imported when it is run, so that ``--help`` needs no torch."""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterator
from itertools import takewhile
from types import FrameType

import click

from seqtrain.errors import InputError, RunError, Stopped

COMMANDS = {
    "demo": "Run the main job on the sample that ships: pretrain, finetune, predict, report.",
    "pretrain": "Learn from unlabelled sequences (FASTA): hidden letters, or another objective.",
    "split": "Split a table or FASTA into train, validation and test, by homology too, once or in folds.",
    "finetune": "Train on labelled sequences (CSV, TSV, Parquet), from a pretrained model or from scratch.",
    "tune": "Search for the settings of a finetuning: architecture and augmentation, too.",
    "ensemble": "Join finished runs into one that answers with their mean.",
    "distill": "Train a small model on what finished runs say, and on labels.",
    "predict": "Predict labels for sequences (FASTA or table).",
    "evaluate": "Score a finetuned run on a labelled table.",
    "compare": "Compare finished runs on the same test records: which is better, and is it chance?",
    "score": "Score mutations of proteins by a masked language model, without labels.",
    "pseudo-label": "Label unlabelled sequences by a finetuned run, as a table to train a student on.",
    "lr-range": "Find the learning rate of a pretraining or finetuning by a range test.",
    "describe": "Show a network: its parts, shapes, parameters and FLOPs, as a table and as a picture.",
    "plan": "Measure a training before it is begun: hours, memory, the largest batch, disk.",
    "check": "Look at the data of a table: duplicates, labels in conflict or doubt, test records like training ones.",
    "microcosm": "Write a small, balanced sample of a table or FASTA with as many families as it can hold.",
    "imbalance": "Show the classes of a table, and what each method against imbalance would do to them.",
    "embed": "Write embeddings of sequences (FASTA or table) as .npz, .h5 or .parquet.",
    "export": "Write a trained network as a Hugging Face folder, as ONNX or as safetensors.",
    "augment": "Write augmented copies of sequences (FASTA or table).",
    "synthesize": "Write synthetic members of rare classes, drawn from a model of each family.",
}


class LazyGroup(click.Group):
    """A group whose commands live in modules of this package with their name."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order of the job."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the module of one command."""
        if cmd_name not in COMMANDS:
            return None
        command = importlib.import_module(f"seqtrain_cli.{cmd_name.replace('-', '_')}").command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="seqtrain")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def seqtrain(debug: bool) -> None:
    """Train models on biological sequences: pretrain on a FASTA, finetune on a table, predict.

    \b
      seqtrain pretrain proteins.fasta.gz -o runs/base
      seqtrain finetune labels.csv --from runs/base -o runs/labels
      seqtrain predict runs/labels new.fasta -o predictions.csv

    Running the same training command again continues where it stopped.
    Exit codes: 0 done, 1 the run failed, 2 wrong usage or input, 130 Ctrl-C, 143 SIGTERM.
    """


def main(arguments: list[str] | None = None) -> None:
    """Run a command and leave with its exit code; errors are one line on stderr."""
    arguments = sys.argv[1:] if arguments is None else arguments
    # Threads that wait in a busy loop make training many times slower when another process wants the cores, and gain
    # little when none does (measure it with benchmarks/benchmark_sharing.py). Read when torch is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        with _stopping_on_sigterm():
            seqtrain.main(args=arguments, prog_name="seqtrain", standalone_mode=False)
        code = 0
    except click.exceptions.Exit as leave:
        code = leave.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        code = error.exit_code
    except click.ClickException as error:
        context = getattr(error, "ctx", None)
        words = " ".join(error.format_message().split()).rstrip(".")
        click.echo(f"error: {words}; see {context.command_path if context else 'seqtrain'} --help", err=True)
        code = error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        code = 130
    except BrokenPipeError:
        # The reader of our output went away (| head): there is nobody left to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    except Exception as error:
        # Behind the name of a command, the word is an option of that command.
        if "--debug" in takewhile(lambda word: word.startswith("-"), arguments):
            traceback.print_exc()
        code = _explain(error)
    sys.exit(code)


@contextlib.contextmanager
def _stopping_on_sigterm() -> Iterator[None]:
    """Let SIGTERM end the command like an error does, so that half-written files are removed on the way out."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        raise Stopped(number, "terminated")

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _explain(error: Exception) -> int:
    """One line on stderr; the exit code."""
    if isinstance(error, InputError):
        click.echo(f"error: {error}", err=True)
        return 2
    if isinstance(error, Stopped):
        click.echo(str(error), err=True)
        return 128 + error.signal_number
    if isinstance(error, OSError) and error.strerror:
        place = f"{error.filename}: " if error.filename else ""
        click.echo(f"error: {place}{error.strerror}; check the path, its permissions and its disk", err=True)
        return 1
    if isinstance(error, RunError | OSError | MemoryError):
        click.echo(f"error: {str(error) or type(error).__name__}", err=True)
        return 1
    text = " ".join(str(error).split())
    click.echo(f"error: unexpected {type(error).__name__}: {text}; rerun as seqtrain --debug … and report it", err=True)
    return 1


if __name__ == "__main__":
    main()
