"""The pipeline that reproduces arXiv 2309.13972: one subcommand a stage, `python -m harness STAGE`."""
