"""Room 04: adapter and prompts -> synthetic images."""
