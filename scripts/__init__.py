"""What makes the environment, the lock files and the generated documents; nothing of it is installed."""
