"""A judge without a network: it reads from the pixels what a film of the world shows."""
