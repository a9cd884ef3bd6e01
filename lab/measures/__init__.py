"""Measures of lavie-tiny on the world: does a clip show its prompt, what does a wrong word cost, sheets to look at."""
