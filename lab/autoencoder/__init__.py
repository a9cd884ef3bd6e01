"""The two small image autoencoders of lavie-tiny, trained on rendered images by the loop of all stages.

Plain L1 + MSE decodes red as orange, so sprites weigh more than background, and colours are compared block by block
as well as pixel by pixel. At first the latents are also guided towards the blocks' mean colours, which they would
otherwise find only late.
"""

from .images import RenderedImages, image_data
from .network import Autoencoder, new_autoencoder
from .recipes import RECIPES, AutoencoderRecipe
from .stage import AutoencoderStage

__all__ = [
    "RECIPES",
    "Autoencoder",
    "AutoencoderRecipe",
    "AutoencoderStage",
    "RenderedImages",
    "image_data",
    "new_autoencoder",
]
