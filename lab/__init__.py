"""The little world of lavie-tiny: how its films are painted, judged and learnt. Nothing in `lavie` imports it."""
