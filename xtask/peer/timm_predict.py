"""Pictures to logits with timm, as people write it: Pillow, timm's evaluation transform, batches of a DataLoader.

Paths come on stdin, one a line; each picture gives one JSON line, as of `fcmae predict --json`. `cargo xtask bench predict` runs
it in turn with ours and takes the time from outside.
"""

import json
import sys

import timm
import torch
from PIL import Image
from torch.nn import functional as F

from torch_fcmae import autocast, parser, place, prepare


class Pictures(torch.utils.data.Dataset):
    def __init__(self, files, transform):
        self.files, self.transform = files, transform

    def __len__(self):
        return len(self.files)

    def __getitem__(self, index):
        return self.transform(Image.open(self.files[index]).convert("RGB"))


def main():
    options = parser(__doc__.splitlines()[0])
    options.add_argument("--weights", required=True)
    options.add_argument("--workers", type=int, default=0)
    o = options.parse_args()
    prepare(o)
    files = sys.stdin.read().splitlines()
    model = place(timm.create_model(f"convnextv2_{o.model}", checkpoint_path=o.weights).eval(), o)
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model))
    forward = torch.compile(model) if o.compile else model
    batches = torch.utils.data.DataLoader(Pictures(files, transform), o.batch, num_workers=o.workers)
    remaining = iter(files)
    with torch.inference_mode(), autocast(o):
        for images in batches:
            # the last batch is filled up: another shape would be compiled again
            full = F.pad(images, (0, 0) * 3 + (0, o.batch - len(images)))
            logits = forward(full.to(memory_format=torch.channels_last))[: len(images)]
            for row, file in zip(logits.float().tolist(), remaining):
                print(json.dumps({"file": file, "logits": row}))
            sys.stdout.flush()


if __name__ == "__main__":
    main()
