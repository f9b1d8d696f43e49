"""Makes the pages of the documentation that the protos already say: `make generate` runs it."""
