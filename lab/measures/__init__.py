"""What lavie-tiny is measured by on the world: as the prompt says, the word-swap gap, sheets to look at."""
