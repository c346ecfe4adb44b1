"""Numbers to numbers: networks over packed batches, which never see files of sequences, letters or losses."""
