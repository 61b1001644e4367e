"""Images per second of torchvision's ImageFolder in a DataLoader, as `crates/data/benches/loader.rs` measures ours.

Prints one line of JSON. RandomResizedCrop (bicubic) + flip + ToTensor + Normalize; one epoch warms up, one counts.
"""

import argparse
import json
import time

import PIL
import torch
import torchvision
from torch.utils.data import DataLoader
from torchvision import datasets, transforms
from torchvision.transforms import InterpolationMode


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("images")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--size", type=int, default=224)
    args = parser.parse_args()
    torch.set_num_threads(1)
    transform = transforms.Compose(
        [
            transforms.RandomResizedCrop(args.size, scale=(0.2, 1.0), interpolation=InterpolationMode.BICUBIC),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
        ]
    )
    loader = DataLoader(
        datasets.ImageFolder(args.images, transform),
        batch_size=args.batch,
        shuffle=True,
        drop_last=True,
        num_workers=args.workers,
        persistent_workers=args.workers > 0,
    )
    for _ in loader:
        pass
    started, images = time.perf_counter(), 0
    for batch, _ in loader:
        images += len(batch)
    seconds = time.perf_counter() - started
    print(
        json.dumps(
            {
                "images_per_second": images / seconds,
                "workers": args.workers,
                "versions": {
                    "torch": torch.__version__,
                    "torchvision": torchvision.__version__,
                    "pillow": PIL.__version__,
                },
            }
        )
    )


if __name__ == "__main__":
    main()
