"""How lavie-tiny learns the world of `lab.world`: its data, and the stages that `lavie` has no command for."""
