"""Rebuild the chloroplast sample from the GenBank file that travels in Biopython's source distribution.

    python data/extract_chloroplast.py biopython-1.86.tar.gz

The input is the archive or the file ``NC_000932.gb`` itself (*Arabidopsis thaliana* chloroplast, RefSeq NC_000932.1).
Every protein is compared with the translation of its own coding sequence under genetic code 11. Four differ, all in the
first residue only: rps19 and both copies of ycf1 start with GTG, which initiates with methionine; ndhD starts with ACG,
which RNA editing turns into ATG before translation. The two copies of rps12 are spliced together from separate
transcripts; the exons are joined in the order of the record, whichever strand they lie on.
"""

# mypy: allow-untyped-calls
from __future__ import annotations

import argparse
import csv
import hashlib
import io
import sys
import tarfile
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from Bio import SeqIO
from Bio.SeqFeature import SeqFeature
from Bio.SeqRecord import SeqRecord

ARCHIVE_MEMBER = "Tests/GenBank/NC_000932.gb"
GENBANK_SHA256 = "a8b5d8239001f56a5b8b3ff047b10338b839329cf594aad36bfa4755a0dfb480"
GENETIC_CODE = 11  # NCBI's table for bacteria, archaea and plant plastids
FASTA_WIDTH = 60  # letters per line

EDITED_STARTS = {"ndhD": "ACG"}
"""Gene -> genomic first codon that RNA editing turns into a start codon."""
PLASTID_STARTS = ("ATG", "GTG")
"""First codons of this genome that are read as methionine without editing; a subset of the starts of code 11."""

FUNCTIONS = {
    "atp": "ATP synthase",
    "ndh": "NADH dehydrogenase",
    "pet": "cytochrome b6f",
    "psa": "photosystem",
    "psb": "photosystem",
    "rpl": "ribosomal protein",
    "rpo": "RNA polymerase",
    "rps": "ribosomal protein",
}
"""First three letters of the gene's name -> function; every other gene is "other"."""


@dataclass(frozen=True, kw_only=True)
class Protein:
    """One row of the table; the fields are its columns, in order."""

    identifier: str
    """Accession with version, as in NP_051039.1."""
    sequence: str
    """Residues, without a stop."""
    coding_sequence: str
    """Bases of the genome, start to stop codon included: three times the residues plus three."""
    gene: str
    product: str
    function: str


def function_of(gene: str) -> str:
    """The label of a gene, from the first three letters of its name (plastid genes: Hallick & Bottomley 1983)."""
    return FUNCTIONS.get(gene[:3], "other")


def read_genbank(path: Path) -> str:
    """Text of the GenBank file, out of the archive or as it is.

    Raises:
        ValueError: the file is not there, or is another edition than the one the sample was made from.
    """
    if not path.is_file():
        raise ValueError(f"{path}: no such file; give Biopython's source distribution (.tar.gz) or NC_000932.gb")
    content = _archive_member(path) if tarfile.is_tarfile(path) else path.read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if found != GENBANK_SHA256:
        raise ValueError(f"{path}: not the expected {ARCHIVE_MEMBER} (sha256 {found}); use that of biopython 1.86")
    return content.decode("ascii")


def _archive_member(path: Path) -> bytes:
    # Read straight out of the archive: unpacking would trust the names of a few thousand other members.
    with tarfile.open(path) as archive:
        for member in archive:
            stream = archive.extractfile(member) if member.name.endswith("/" + ARCHIVE_MEMBER) else None
            if stream is not None:
                return stream.read()
    raise ValueError(f"{path}: holds no {ARCHIVE_MEMBER}; give the source distribution (.tar.gz), not a wheel")


def read_proteins(record: SeqRecord) -> list[Protein]:
    """Every protein of a genome, in the order of its features."""
    return [_protein(record, feature) for feature in record.features if feature.type == "CDS"]


def _protein(record: SeqRecord, feature: SeqFeature) -> Protein:
    gene, product, identifier, sequence = (
        feature.qualifiers[key][0] for key in ("gene", "product", "protein_id", "translation")
    )
    bases = feature.extract(record.seq)
    _check_translation(identifier, gene, str(bases), str(bases.translate(table=GENETIC_CODE)), sequence)
    return Protein(
        identifier=identifier,
        sequence=sequence,
        coding_sequence=str(bases),
        gene=gene,
        product=product,
        function=function_of(gene),
    )


def _check_translation(identifier: str, gene: str, bases: str, translated: str, sequence: str) -> None:
    """Refuse a protein that differs from its translation other than by the start codons that the module names."""
    if bases[:3] in PLASTID_STARTS or EDITED_STARTS.get(gene) == bases[:3]:
        translated = "M" + translated[1:]
    if translated != sequence + "*":
        raise ValueError(f"{identifier} ({gene}): the coding sequence does not translate to the annotated protein")


def write_fasta(path: Path, proteins: Sequence[Protein]) -> None:
    """Wrapped FASTA; the header is the identifier, the gene and the product."""
    with path.open("w", encoding="ascii", newline="\n") as stream:
        for protein in proteins:
            stream.write(f">{protein.identifier} {protein.gene} {protein.product}\n")
            for start in range(0, len(protein.sequence), FASTA_WIDTH):
                stream.write(protein.sequence[start : start + FASTA_WIDTH] + "\n")


def write_table(path: Path, proteins: Sequence[Protein]) -> None:
    """Comma-separated table, one row per protein, the columns named as the fields of :class:`Protein`."""
    with path.open("w", encoding="ascii", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(field.name for field in fields(Protein))
        writer.writerows(astuple(protein) for protein in proteins)


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code, 2 for an input that cannot be used."""
    parser = argparse.ArgumentParser(description="Rebuild the chloroplast sample files.")
    parser.add_argument("source", type=Path, help="biopython-1.86.tar.gz, or NC_000932.gb out of it")
    parser.add_argument("--folder", type=Path, default=Path(__file__).parent / "samples", help="where to write")
    options = parser.parse_args(arguments)
    try:
        proteins = read_proteins(SeqIO.read(io.StringIO(read_genbank(options.source)), "genbank"))
    except ValueError as error:
        print(f"extract_chloroplast: {error}", file=sys.stderr)
        return 2
    options.folder.mkdir(parents=True, exist_ok=True)
    write_fasta(options.folder / "chloroplast_proteins.fasta", proteins)
    write_table(options.folder / "chloroplast_functions.csv", proteins)
    print(f"{len(proteins)} proteins, {sum(len(protein.sequence) for protein in proteins)} residues")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
