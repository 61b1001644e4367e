"""Writes operations.safetensors: the operations of RandAugment as Pillow does them, on grey and colour pictures.

    python operations.py        # Pillow 13, numpy, safetensors; the same bytes on every run

`image.<picture>` (u8, [H,W] or [H,W,3]) and `<picture>/<operation>/<argument>` of it. Pictures are noise with many
0 and 255, so that results overshoot; pixels from outside are (124, 116, 104), in grey pictures 145.
"""
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance, ImageOps
from safetensors.numpy import save_file

random = np.random.RandomState(7)


def noise(*shape):
    values = random.randint(0, 256, shape)
    values[random.rand(*shape) < 0.2] = 0
    values[random.rand(*shape) < 0.2] = 255
    return values.astype(np.uint8)


def smooth(*shape):
    ramps = np.add.outer(np.arange(shape[0]) * 3, np.arange(shape[1]) * 2)
    return ((ramps[..., None] + np.arange(3) * 20) % 180 + 30 + random.randint(0, 9, (*shape, 3))).astype(np.uint8)


pictures = {"grey": noise(30, 41), "colour": noise(23, 17, 3), "ramp": smooth(40, 33), "thin": noise(9, 2), "dot": noise(1, 1, 3),
            "flat": np.full((20, 15), 77, np.uint8)}


def moved(matrix):
    return lambda im, fill: im.transform(im.size, Image.AFFINE, matrix(im), Image.BICUBIC, fillcolor=fill)


def solarize_add(add):
    return lambda im, fill: im.point([min(255, i + add) if i < 128 else i for i in range(256)] * len(im.getbands()))


cases = {("AutoContrast", 0): lambda im, fill: ImageOps.autocontrast(im), ("Equalize", 0): lambda im, fill: ImageOps.equalize(im),
         ("Invert", 0): lambda im, fill: ImageOps.invert(im)}
cases |= {("Rotate", a): lambda im, fill, a=a: im.rotate(a, resample=Image.BICUBIC, fillcolor=fill) for a in (27.0, -13.5, 0.0, 3.3)}
cases |= {("Posterize", a): lambda im, fill, a=a: ImageOps.posterize(im, a) for a in (1, 3, 4)}
cases |= {("Solarize", a): lambda im, fill, a=a: ImageOps.solarize(im, a) for a in (0, 26, 256)}
cases |= {("SolarizeAdd", a): solarize_add(a) for a in (0, 99, 110)}
for name in ("Color", "Contrast", "Brightness", "Sharpness"):
    cases |= {(name, a): lambda im, fill, a=a, name=name: getattr(ImageEnhance, name)(im).enhance(a) for a in (0.1, 0.595, 1.0, 1.37, 1.9)}
cases |= {("ShearX", a): moved(lambda im, a=a: (1, a, 0, 0, 1, 0)) for a in (0.27, -0.135)}
cases |= {("ShearY", a): moved(lambda im, a=a: (1, 0, 0, a, 1, 0)) for a in (0.27, -0.135)}
cases |= {("TranslateX", a): moved(lambda im, a=a: (1, 0, a * im.size[0], 0, 1, 0)) for a in (0.405, -0.2025)}
cases |= {("TranslateY", a): moved(lambda im, a=a: (1, 0, 0, 0, 1, a * im.size[1])) for a in (0.405, -0.2025)}

tensors = {}
for picture, pixels in pictures.items():
    image = Image.fromarray(pixels)
    tensors[f"image.{picture}"] = pixels
    for (operation, argument), apply in cases.items():
        result = apply(image, 145 if pixels.ndim == 2 else (124, 116, 104))
        tensors[f"{picture}/{operation}/{argument}"] = np.asarray(result).copy()
save_file(tensors, Path(__file__).with_name("operations.safetensors"))
