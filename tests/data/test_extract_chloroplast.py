"""The script that made the sample: rules, refusals, and the same bytes again."""

# mypy: allow-untyped-calls
from __future__ import annotations

import csv
import hashlib
import io
import tarfile
from dataclasses import fields
from pathlib import Path

import pytest
from Bio.Seq import Seq
from Bio.SeqFeature import CompoundLocation, SeqFeature, SimpleLocation
from Bio.SeqRecord import SeqRecord

from seqtrain_data import extract_chloroplast, sample_path
from seqtrain_data.extract_chloroplast import Protein, function_of, main, read_proteins, write_fasta, write_table


def genome(bases: str, protein: str, gene: str, location: SimpleLocation | CompoundLocation) -> SeqRecord:
    qualifiers = {"gene": [gene], "product": ["a, b"], "protein_id": ["NP_1.1"], "translation": [protein]}
    features = [SeqFeature(location, type="gene"), SeqFeature(location, type="CDS", qualifiers=qualifiers)]
    return SeqRecord(Seq(bases), features=features)


@pytest.mark.parametrize(
    ("gene", "function"),
    [
        ("psbA", "photosystem"),
        ("psaC", "photosystem"),
        ("rps12", "ribosomal protein"),
        ("rpl2", "ribosomal protein"),
        ("rpoC1", "RNA polymerase"),
        ("petB", "cytochrome b6f"),
        ("ndhD", "NADH dehydrogenase"),
        ("atpH", "ATP synthase"),
        ("ccsA", "other"),
        ("ycf3", "other"),
    ],
)
def test_function_follows_from_the_gene(gene: str, function: str) -> None:
    assert function_of(gene) == function


def test_exons_are_joined_across_strands() -> None:
    # ATG GCT on the reverse strand at 0-6, TGG TAA on the forward strand at 8-14.
    location = CompoundLocation([SimpleLocation(0, 6, -1), SimpleLocation(8, 14, 1)])
    (protein,) = read_proteins(genome("AGCCATCCTGGTAA", "MAW", "rps12", location))
    assert (protein.coding_sequence, protein.sequence) == ("ATGGCTTGGTAA", "MAW")


@pytest.mark.parametrize(
    ("start", "gene", "accepted"), [("GTG", "any", True), ("ACG", "ndhD", True), ("ACG", "any", False)]
)
def test_only_named_starts_may_differ(start: str, gene: str, accepted: bool) -> None:
    record = genome(start + "TGGTAA", "MW", gene, SimpleLocation(0, 9, 1))
    if accepted:
        assert read_proteins(record)[0].sequence == "MW"
    else:
        with pytest.raises(ValueError, match=r"NP_1\.1 \(any\)"):
            read_proteins(record)


@pytest.mark.parametrize("protein", ["MF", "MWW", "M"])
def test_a_protein_that_is_not_the_translation_is_refused(protein: str) -> None:
    with pytest.raises(ValueError, match="does not translate"):
        read_proteins(genome("ATGTGGTAA", protein, "psbA", SimpleLocation(0, 9, 1)))


def test_rows_of_the_sample_are_written_back_to_the_same_bytes(tmp_path: Path) -> None:
    with sample_path("chloroplast_functions.csv").open(newline="") as stream:
        reader = csv.DictReader(stream)
        proteins = [Protein(**row) for row in reader]
        assert reader.fieldnames == [field.name for field in fields(Protein)]
    write_table(tmp_path / "chloroplast_functions.csv", proteins)
    write_fasta(tmp_path / "chloroplast_proteins.fasta", proteins)
    for path in tmp_path.iterdir():
        assert path.read_bytes() == sample_path(path.name).read_bytes()


def test_archive_and_file_give_the_same_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = b"LOCUS       a stand-in\n"
    digest = hashlib.sha256(content).hexdigest()
    monkeypatch.setattr(extract_chloroplast, "GENBANK_SHA256", digest)
    (tmp_path / "NC_000932.gb").write_bytes(content)
    with tarfile.open(tmp_path / "source.tar.gz", "w:gz") as archive:
        for name, stored in (("b-1/README", b"no"), ("b-1/Tests/GenBank/NC_000932.gb", content)):
            member = tarfile.TarInfo(name)
            member.size = len(stored)
            archive.addfile(member, io.BytesIO(stored))
    for name in ("NC_000932.gb", "source.tar.gz"):
        assert extract_chloroplast.read_genbank(tmp_path / name).encode() == content


@pytest.mark.parametrize("case", ["missing", "other edition", "archive without it"])
def test_an_unusable_source_is_one_line_and_exit_code_2(
    case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "source"
    if case == "other edition":
        source.write_text("LOCUS       another\n")
    elif case == "archive without it":
        tarfile.open(source, "w:gz").close()
    assert main([str(source), "--folder", str(tmp_path / "out")]) == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert str(source) in message
    assert not (tmp_path / "out").exists()
