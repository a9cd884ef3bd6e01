"""What several tests need: small networks, films, nodes as a graph calls them, the official code's numbers."""
