"""A step of the dense ConvNeXt V2 classifier in plain PyTorch: training, or inference alone.

The same network as ours: stages, global average pooling, LayerNorm, linear map to 1000 classes. Prints one JSON line
with the median seconds of a step: forward, cross-entropy, backward and fused AdamW with `--task classify`, the forward
pass with `--task infer`. `cargo xtask bench step --task …` runs it in turn with ours.
"""

import torch
from torch import nn
from torch.nn import functional as F

from torch_fcmae import EPS, SIZES, adamw, autocast, encoder, initialise, measure, parser, place, prepare
from torch_fcmae import random_images, train

CLASSES = 1000


class Classifier(nn.Module):
    def __init__(self, depths, dims):
        super().__init__()
        self.downsample_layers, self.stages = encoder(depths, dims)
        self.norm = nn.LayerNorm(dims[-1], eps=EPS)
        self.head = nn.Linear(dims[-1], CLASSES)
        initialise(self)

    def forward(self, images):  # [N, 3, H, W] -> logits [N, classes]
        x = images
        for down, blocks in zip(self.downsample_layers, self.stages):
            x = down(x)
            for block in blocks:
                x = block(x)
        return self.head(self.norm(x.mean(dim=(2, 3))))


def classify(forward, model, images, o):
    optimizer = adamw(model)
    labels = torch.randint(CLASSES, (o.batch,), device=o.device)
    return lambda: train(optimizer, o, lambda: F.cross_entropy(forward(images).float(), labels))


def infer(forward, images, o):
    def step():
        with torch.inference_mode(), autocast(o):
            forward(images)[0, 0].item()  # waits for the device

    return step


def main():
    options = parser(__doc__.splitlines()[0])
    options.add_argument("--task", default="classify", choices=["classify", "infer"])
    o = options.parse_args()
    prepare(o)
    model = place(Classifier(*SIZES[o.model]), o)
    images = random_images(o)
    forward = torch.compile(model) if o.compile else model
    step = infer(forward, images, o) if o.task == "infer" else classify(forward, model, images, o)
    measure(step, o, o.task)


if __name__ == "__main__":
    main()
