"""How many mutants: pytest tests/fuzz --mutants 100000."""


def pytest_addoption(parser):
    parser.addoption("--mutants", type=int, help="how many mutants of files to try; the default takes half a minute")
    parser.addoption("--mutants-from", type=int, default=0, help="the first mutant's number")
