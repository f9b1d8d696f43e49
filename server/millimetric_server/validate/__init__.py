"""What each request must look like: pure functions from a message to checked values, or AppError."""
