"""Operations are counted, attention on a CPU among them."""

import torch
from torch import nn
from torch.nn.functional import scaled_dot_product_attention

from lavie.evaluation.arithmetic import counted_arithmetic


class Attending(nn.Module):
    """Tokens [batch, tokens, 32] that attend to each other after one linear layer."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(32, 32)

    def forward(self, x):
        x = self.layer(x)[:, None]
        return scaled_dot_product_attention(x, x, x)


def test_attention_counts_whether_its_scores_are_written_out_or_not():
    network, x = Attending(), torch.randn(2, 50, 32)
    with torch.no_grad(), counted_arithmetic(network) as counts:
        network(x)
        network(x[:1])
    layer, attention = 2 * 50 * 32 * 32, 4 * 50 * 50 * 32
    assert counts == [2 * (layer + attention), layer + attention]
    assert "forward" not in vars(network)
