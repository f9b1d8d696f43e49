"""What alembic runs for each command: the steps, in the transaction that schema.py gives it."""

from alembic import context

context.configure(
    connection=context.config.attributes["connection"],
    render_as_batch=True,  # SQLite changes a table by making a new one
)
context.run_migrations()
