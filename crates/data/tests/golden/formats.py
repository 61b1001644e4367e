"""Writes formats.safetensors: small files of every kind, and what Pillow makes of them.

    python formats.py        # Pillow 12 or 13, numpy; the same bytes on every run

For a name X: `file.X` (u8, the encoded file), `rgb.X` [H,W,3] and `grey.X` [H,W] (u8), after
ImageOps.exif_transpose, by convert("RGB") and convert("L") of that; 16-bit files by their high byte.
"""
import io
import json
import struct
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

tensors = {}


def add(name, data, expected=None):
    tensors["file." + name] = np.frombuffer(data, np.uint8)
    if expected is None:
        expected = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    tensors["rgb." + name] = np.asarray(expected.convert("RGB"))
    # From colours with alpha Pillow goes to L directly; the alpha is dropped either way.
    tensors["grey." + name] = np.asarray(expected.convert("L"))


def encoded(image, format, **options):
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def smooth(w, h, phase=0.0):
    """Colours without sharp edges, so that JPEG keeps them."""
    y, x = np.mgrid[0:h, 0:w]
    r, g, b = (127 + 100 * np.sin(0.21 * x + 0.13 * y + k + phase) for k in (0, 2, 4))
    return Image.fromarray(np.stack([r, g, b], -1).astype(np.uint8))


rng = np.random.default_rng(3)
w, h = 13, 9
rgba = Image.fromarray(rng.integers(0, 256, (h, w, 4), dtype=np.uint8))
rgb, grey = rgba.convert("RGB"), rgba.convert("L")
la = Image.merge("LA", (grey, rgba.getchannel("A")))
palette = rgb.quantize(7)

for name, image in {"rgb": rgb, "rgba": rgba, "l": grey, "la": la, "p": palette, "1": grey.convert("1")}.items():
    add(f"{name}.png", encoded(image, "PNG"))
add("p_transparent.png", encoded(palette, "PNG", transparency=2))
add("l_transparent.png", encoded(grey, "PNG", transparency=int(np.asarray(grey)[0, 0])))
deep = rng.integers(0, 65536, (h, w), dtype=np.uint16)
add("i16.png", encoded(Image.fromarray(deep), "PNG"), Image.fromarray((deep >> 8).astype(np.uint8)))
add("i16.tif", encoded(Image.fromarray(deep), "TIFF"), Image.fromarray((deep >> 8).astype(np.uint8)))
add("rgb.webp", encoded(rgb, "WEBP", lossless=True))
add("rgba.webp", encoded(rgba, "WEBP", lossless=True, exact=True))
add("rgb.bmp", encoded(rgb, "BMP"))
add("p.bmp", encoded(palette, "BMP"))
add("rgb.tif", encoded(rgb, "TIFF"))
add("rgb_lzw.tif", encoded(rgb, "TIFF", compression="tiff_lzw"))
add("p.gif", encoded(palette, "GIF"))
add("two.gif", encoded(palette, "GIF", save_all=True, append_images=[palette.transpose(Image.Transpose.ROTATE_180)]))
add("rgb.ppm", encoded(rgb, "PPM"))
add("l.pgm", encoded(grey, "PPM"))
add("1.pbm", encoded(grey.convert("1"), "PPM"))

photo = smooth(40, 27)
add("444.jpg", encoded(photo, "JPEG", quality=95, subsampling=0))
add("420.jpg", encoded(photo, "JPEG", quality=95))
add("progressive.jpg", encoded(photo, "JPEG", quality=95, progressive=True))
add("restart.jpg", encoded(photo, "JPEG", quality=95, restart_marker_blocks=2))
add("grey.jpg", encoded(photo.convert("L"), "JPEG", quality=95))
add("rgb.jpg", encoded(photo, "JPEG", quality=95, keep_rgb=True))
cmyk = Image.merge("CMYK", (*smooth(40, 27, 1.0).split(), smooth(40, 27, 2.0).getchannel(0).point(lambda v: v // 2)))
add("cmyk.tif", encoded(cmyk, "TIFF"))
cmyk = encoded(cmyk, "JPEG", quality=95)
add("cmyk.jpg", cmyk)
# The same data called YCCK by Adobe's marker: other colours, and Pillow says which.
at = cmyk.index(b"Adobe") + 11
add("ycck.jpg", cmyk[:at] + b"\x02" + cmyk[at + 1:])

marked = smooth(24, 16)
for orientation in range(1, 9):
    exif = Image.Exif()
    exif[0x0112] = orientation
    add(f"exif{orientation}.jpg", encoded(marked, "JPEG", quality=95, subsampling=0, exif=exif))
    if orientation in (5, 6):
        add(f"exif{orientation}.png", encoded(rgb, "PNG", exif=exif))
        add(f"exif{orientation}.webp", encoded(rgb, "WEBP", lossless=True, exif=exif))
        add(f"exif{orientation}.tif", encoded(rgb, "TIFF", exif=exif))

header, blob = {}, b""
for name, value in sorted(tensors.items()):
    header[name] = {"dtype": "U8", "shape": list(value.shape), "data_offsets": [len(blob), len(blob) + value.size]}
    blob += value.tobytes()
text = json.dumps(header, separators=(",", ":")).encode()
text += b" " * (-len(text) % 8)
(Path(__file__).parent / "formats.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + blob)
