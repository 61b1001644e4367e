"""One FCMAE pre-training step as people write it in plain PyTorch: masked-dense, no sparse library.

The whole image goes through the network; what is hidden is multiplied away after the stem, after each
downsampling and after each block, and GRN's norm sees visible pixels only. Prints one JSON line with the
median seconds of a step (forward, backward, fused AdamW). `cargo xtask bench step` runs it in turn with ours.
"""

import argparse
import json
import resource
import statistics
import time

import torch
from torch import nn
from torch.nn import functional as F

SIZES = {
    "atto": ((2, 2, 6, 2), (40, 80, 160, 320)),
    "femto": ((2, 2, 6, 2), (48, 96, 192, 384)),
    "pico": ((2, 2, 6, 2), (64, 128, 256, 512)),
    "nano": ((2, 2, 8, 2), (80, 160, 320, 640)),
    "tiny": ((3, 3, 9, 3), (96, 192, 384, 768)),
    "base": ((3, 3, 27, 3), (128, 256, 512, 1024)),
    "large": ((3, 3, 27, 3), (192, 384, 768, 1536)),
    "huge": ((3, 3, 27, 3), (352, 704, 1408, 2816)),
}
PATCH, DECODER_DIM, EPS = 32, 512, 1e-6


class ImageLayerNorm(nn.LayerNorm):
    """LayerNorm over the channels of [N, C, H, W]; with channels_last memory the permutes move nothing."""

    def forward(self, x):
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Grn(nn.Module):
    """Global response normalisation of [N, H, W, C]; `visible` [N, H, W, 1] is 1 where the norm may look."""

    def __init__(self, dim):
        super().__init__()
        self.gamma = nn.Parameter(torch.zeros(dim))
        self.beta = nn.Parameter(torch.zeros(dim))

    def forward(self, x, visible):
        looked_at = x if visible is None else x * visible
        norm = torch.linalg.vector_norm(looked_at.float(), dim=(1, 2), keepdim=True)
        response = norm / (norm.mean(dim=-1, keepdim=True) + EPS)
        return self.gamma * (x * response.to(x.dtype)) + self.beta + x


class Block(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.dwconv = nn.Conv2d(dim, dim, kernel_size=7, padding=3, groups=dim)
        self.norm = nn.LayerNorm(dim, eps=EPS)
        self.pwconv1 = nn.Linear(dim, 4 * dim)
        self.grn = Grn(4 * dim)
        self.pwconv2 = nn.Linear(4 * dim, dim)

    def forward(self, x, visible=None):  # x [N, C, H, W], visible [N, 1, H, W]
        h = self.norm(self.dwconv(x).permute(0, 2, 3, 1))
        h = F.gelu(self.pwconv1(h))
        h = self.grn(h, None if visible is None else visible.permute(0, 2, 3, 1))
        x = x + self.pwconv2(h).permute(0, 3, 1, 2)
        return x if visible is None else x * visible


def encoder(depths, dims):
    """Stem and downsampling layers, and the blocks of each stage."""
    stem = nn.Sequential(nn.Conv2d(3, dims[0], 4, stride=4), ImageLayerNorm(dims[0], eps=EPS))
    downs = [
        nn.Sequential(ImageLayerNorm(narrow, eps=EPS), nn.Conv2d(narrow, wide, 2, stride=2))
        for narrow, wide in zip(dims[:-1], dims[1:])
    ]
    stages = (nn.ModuleList(Block(dim) for _ in range(depth)) for depth, dim in zip(depths, dims))
    return nn.ModuleList([stem, *downs]), nn.ModuleList(stages)


def initialise(model):
    for parameter in model.parameters():
        if parameter.dim() > 1:
            nn.init.trunc_normal_(parameter, std=0.02)


class Fcmae(nn.Module):
    def __init__(self, depths, dims):
        super().__init__()
        self.downsample_layers, self.stages = encoder(depths, dims)
        self.proj = nn.Conv2d(dims[-1], DECODER_DIM, 1)
        self.mask_token = nn.Parameter(torch.zeros(1, DECODER_DIM, 1, 1))
        self.decoder = Block(DECODER_DIM)
        self.pred = nn.Conv2d(DECODER_DIM, PATCH * PATCH * 3, 1)
        initialise(self)

    def forward(self, images, mask):  # images [N, 3, H, W], mask [N, L], 1 = hidden
        visible = (1.0 - mask).view(len(images), 1, images.shape[2] // PATCH, images.shape[3] // PATCH)
        x = images
        for stage, (down, blocks) in enumerate(zip(self.downsample_layers, self.stages)):
            side = 8 >> stage
            here = visible.repeat_interleave(side, dim=2).repeat_interleave(side, dim=3)
            x = down(x) * here
            for block in blocks:
                x = block(x, here)
        x = self.proj(x)
        x = self.decoder(x * visible + self.mask_token * (1.0 - visible))
        predicted = self.pred(x).flatten(2).transpose(1, 2).float()  # [N, L, P * P * 3]
        error = (predicted - self.target(images)).square().mean(dim=-1)
        return (error * mask).sum() / mask.sum()

    @staticmethod
    def target(images):
        """Pixels of each patch, normalised by its own mean and (unbiased) variance: [N, L, P * P * 3]."""
        n, c, h, w = images.shape
        patches = images.view(n, c, h // PATCH, PATCH, w // PATCH, PATCH).permute(0, 2, 4, 3, 5, 1)
        patches = patches.reshape(n, (h // PATCH) * (w // PATCH), -1)
        mean, var = patches.mean(dim=-1, keepdim=True), patches.var(dim=-1, keepdim=True)
        return (patches - mean) / (var + EPS).sqrt()


def parser(description):
    """The options of every peer; `cargo xtask bench` gives the same ones to ours."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--model", default="atto", choices=SIZES)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--dtype", default="f32", choices=["f32", "bf16"])
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=7)
    return parser


def prepare(o):
    torch.set_num_threads(o.threads)
    torch.manual_seed(0)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    torch.backends.cudnn.benchmark = True


def place(model, o):
    return model.to(o.device, memory_format=torch.channels_last)


def random_images(o):
    images = torch.randn(o.batch, 3, o.size, o.size, device=o.device)
    return images.contiguous(memory_format=torch.channels_last)


def adamw(model):
    return torch.optim.AdamW(model.parameters(), lr=1e-4, betas=(0.9, 0.95), weight_decay=0.05, fused=True)


def autocast(o):
    return torch.autocast(o.device, dtype=torch.bfloat16, enabled=o.dtype == "bf16")


def train(optimizer, o, loss_of):
    """One training step; reading the loss waits for the device."""
    with autocast(o):
        loss = loss_of()
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
    return loss.item()


def measure(step, o, task):
    """Three steps to warm up, then `--steps` timed ones; prints the JSON line. `step` gives a loss or None."""
    first_loss = step()
    for _ in range(2):
        step()
    seconds = []
    for _ in range(o.steps):
        start = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - start)
    median = statistics.median(seconds)
    if o.device == "cuda":
        peak = torch.cuda.max_memory_allocated() / 2**20
    else:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    result = {
        "model": o.model,
        "task": task,
        "batch": o.batch,
        "dtype": o.dtype,
        "compile": o.compile,
        "device": o.device,
        "torch": torch.__version__,
        "threads": o.threads,
        "seconds": round(median, 6),
        "images_per_second": round(o.batch / median, 2),
        "peak_mib": round(peak),
        "first_loss": None if first_loss is None else round(first_loss, 4),
    }
    print(json.dumps(result))


def random_mask(o):
    """[N, L], 1 = hidden: the same number in each image."""
    patches = (o.size // PATCH) ** 2
    hidden = patches - int(patches * (1.0 - o.mask_ratio))
    order = torch.rand(o.batch, patches).argsort(dim=1).argsort(dim=1)
    return (order < hidden).float().to(o.device)


def main():
    options = parser(__doc__.splitlines()[0])
    options.add_argument("--mask-ratio", type=float, default=0.6)
    o = options.parse_args()
    prepare(o)
    model = place(Fcmae(*SIZES[o.model]), o)
    optimizer = adamw(model)
    images, mask = random_images(o), random_mask(o)
    forward = torch.compile(model) if o.compile else model
    measure(lambda: train(optimizer, o, lambda: forward(images, mask)), o, "pretrain")


if __name__ == "__main__":
    main()
