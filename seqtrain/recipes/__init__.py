"""Whole jobs: pretrain and finetune, from files to a finished run directory."""
