"""The other side of `cargo xtask interop`: timm and transformers as they are installed.

`draw SIZE FOLDER` writes random weights as each of them keeps its own; `load FOLDER` loads what fcmae has exported there, every
name and shape, none left over. Both write the same random pictures to FOLDER/pictures and print one JSON line: versions, and for
each program its logits on them, or why there are none.
"""

import argparse
import json
from pathlib import Path

import numpy
import timm
import torch
import transformers
from PIL import Image
from timm.models.convnext import checkpoint_filter_fn
from transformers import ConvNextV2Config, ConvNextV2ForImageClassification

from torch_fcmae import SIZES

PICTURES, CLASSES = 4, 1000
IMAGENET = {
    "size": {"shortest_edge": 224},
    "image_mean": (0.485, 0.456, 0.406),
    "image_std": (0.229, 0.224, 0.225),
}


def randomise(model):
    """Moves every parameter away from its start, where GRN changes nothing and a bias that is lost is not missed."""
    for name, parameter in model.named_parameters():
        if parameter.dim() == 1 or "grn" in name:
            parameter.add_(torch.randn_like(parameter), alpha=0.3)
        else:
            parameter.normal_(std=parameter[0].numel() ** -0.5)
    return model.eval()


def pictures(folder, preprocessing):
    """Random pictures of exactly the side that the network reads, so that nobody resizes: [N, C, H, W], normalised."""
    side = preprocessing["size"]["shortest_edge"]
    mean, std = (numpy.float32(preprocessing[key]) for key in ("image_mean", "image_std"))
    random = numpy.random.default_rng(0)
    folder.mkdir(exist_ok=True)
    tensors = []
    for number in range(PICTURES):
        coarse = Image.fromarray(random.integers(256, size=(7, 7, 3), dtype=numpy.uint8))
        picture = coarse.resize((side, side)).convert("RGB" if len(mean) == 3 else "L")
        picture.save(folder / f"{number}.png")
        pixels = numpy.float32(picture).reshape(side, side, len(mean)) / 255
        tensors.append(torch.from_numpy((pixels - mean) / std).permute(2, 0, 1))
    return torch.stack(tensors)


def draw(size, folder):
    images = pictures(folder / "pictures", IMAGENET)

    def of_timm():
        model = randomise(timm.create_model(f"convnextv2_{size}"))
        torch.save(model.state_dict(), folder / "timm.pth")
        return model(images)

    def of_transformers():
        depths, dims = SIZES[size]
        config = ConvNextV2Config(depths=depths, hidden_sizes=dims, num_labels=CLASSES, image_size=224)
        model = randomise(ConvNextV2ForImageClassification(config))
        model.save_pretrained(folder / "transformers")
        return model(images).logits

    return {"timm": of_timm, "transformers": of_transformers}


def load(folder):
    preprocessing = json.loads((folder / "transformers/preprocessor_config.json").read_text())
    images = pictures(folder / "pictures", preprocessing)

    def of_transformers():
        model, report = ConvNextV2ForImageClassification.from_pretrained(
            folder / "transformers", output_loading_info=True
        )
        wrong = {what: names for what, names in report.items() if names}
        assert not wrong, f"not loaded as it is: {wrong}"
        return model.eval()(images).logits

    def of_timm(file, renamed):
        model = timm_model(ConvNextV2Config.from_pretrained(folder / "transformers"))
        state = torch.load(folder / file, weights_only=True)
        model.load_state_dict(renamed(state, model), strict=True)
        return model.eval()(images)

    def of_timm_folder():
        model = timm.create_model(f"local-dir:{folder / 'timm'}", pretrained=True)
        config = timm.data.resolve_model_data_config(model)
        theirs = (config["mean"], config["std"], config["input_size"][-1])
        wanted = (preprocessing["image_mean"], preprocessing["image_std"], preprocessing["size"]["shortest_edge"])
        assert [*map(list, theirs[:2]), theirs[2]] == list(wanted), f"images of {theirs} instead of {wanted}"
        return model.eval()(images)

    programs = {
        "timm": lambda: of_timm("timm.pth", lambda state, model: state),
        # the reference cannot be installed; timm reads its files
        "reference": lambda: of_timm("reference.pth", checkpoint_filter_fn),
        "transformers": of_transformers,
    }
    if (folder / "timm").is_dir():  # timm has no network for every stem
        programs["local-dir"] = of_timm_folder
    return programs


def timm_model(config):
    shape = (tuple(config.depths), tuple(config.hidden_sizes))
    size = next((name for name in SIZES if SIZES[name] == shape), None)
    assert size, f"timm has no ConvNeXt V2 of depths {shape[0]} and dims {shape[1]}"
    model = timm.create_model(
        f"convnextv2_{size}",
        num_classes=config.num_labels,
        in_chans=config.num_channels,
        patch_size=config.patch_size,
    )
    if config.patch_size == 2:
        model.stages[0].downsample = torch.nn.Identity()  # as `fcmae convert` advises
    return model


def answer(logits_of):
    """One program's logits, or its error."""
    try:
        logits = logits_of()
        assert logits.isfinite().all(), "logits that are not finite"
        return logits.tolist()
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("draw").add_argument("size", choices=SIZES)
    verbs.add_parser("load")
    for verb in verbs.choices.values():
        verb.add_argument("folder", type=Path)
    o = parser.parse_args()
    torch.manual_seed(0)
    with torch.no_grad():
        programs = draw(o.size, o.folder) if o.verb == "draw" else load(o.folder)
        logits = {name: answer(logits_of) for name, logits_of in programs.items()}
    versions = {module.__name__: module.__version__ for module in (torch, timm, transformers)}
    print(json.dumps({"versions": versions, "logits": logits}))


if __name__ == "__main__":
    main()
