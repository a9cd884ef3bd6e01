"""The painted world: scenes as plain values, the painter, and captions."""
