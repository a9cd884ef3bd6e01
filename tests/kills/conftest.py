"""How many kills: pytest tests/kills --kills 500."""


def pytest_addoption(parser):
    parser.addoption("--kills", type=int, default=20, help="how many times to kill a command and run it again")
    parser.addoption("--kills-from", type=int, default=0, help="the first kill's number")
