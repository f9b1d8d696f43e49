"""What projects share, and how much of it each may take: rates, places, memory."""
