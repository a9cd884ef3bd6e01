"""The two small image autoencoders of lavie-tiny, trained on rendered pictures by the loop of all stages.

Plain L1 + MSE decodes red as orange, so sprites weigh more than background, and colours are compared block by block
as well as pixel by pixel. At first the latents are also guided towards the blocks' mean colours, which they would
otherwise find only late.
"""
