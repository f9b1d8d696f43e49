"""The control database's schema, step by step: versions/ has one file a step, in alembic's form."""
