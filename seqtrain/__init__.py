"""seqtrain: train models on biological sequences, from a FASTA and a table to predictions, with nothing lost."""
