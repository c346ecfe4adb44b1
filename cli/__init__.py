"""The command line of seqtrain: words to a configuration, one library call, an exit code."""
