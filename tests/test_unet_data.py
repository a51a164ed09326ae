"""Reading, checking, splitting and augmenting the images of the U-Net notebook."""

import io
import subprocess
import zipfile

import numpy as np
import pytest
import torch
from definitions import ROOT, write_tgz
from PIL import Image

NUCLEI = ROOT / "data" / "nuclei.zip"
NUMBERS = [*range(1, 21), *range(961, 971)]  # twenty of species 0, ten of species 12


def picture(pixels, kind):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


PHOTO = picture(np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8), "JPEG")
TRIMAP = np.zeros((40, 60, 3), np.uint8)  # left third unlabelled, then flower, then background
TRIMAP[:, 20:40] = (128, 0, 0)
TRIMAP[:, 40:] = (128, 128, 0)
TRIMAP = picture(TRIMAP, "PNG")


@pytest.fixture
def archives(tmp_path):
    """Writes both archives, with some members replaced; returns their paths."""

    def write(**changed):
        photos = {f"jpg/image_{i:04}.jpg": PHOTO for i in [*NUMBERS, 1000]}
        trimaps = {f"trimaps/image_{i:04}.png": TRIMAP for i in NUMBERS}
        for files, kind in ((photos, "jpg"), (trimaps, "png")):
            for name in list(files):
                content = changed.get(f"{kind}{name[-8:-4]}", files[name])
                files[name] = content
                if content is None:
                    del files[name]
        write_tgz(tmp_path / "17flowers.tgz", photos | {"jpg/files.txt": b"image_0001.jpg\n"})
        write_tgz(tmp_path / "trimaps.tgz", trimaps | {"trimaps/imlist.mat": b"x"})
        return tmp_path / "17flowers.tgz", tmp_path / "trimaps.tgz"

    return write


# --- flowers ---------------------------------------------------------------------------------


def test_trimap_colours_become_labels_and_resizing_invents_none(unet, archives):
    splits = unet.read_flowers(*archives(), 24, fewest=30)
    images, masks = splits["train"]
    assert (images.shape[1:], images.dtype) == ((3, 24, 24), torch.uint8)
    assert masks.dtype == torch.uint8
    assert (masks == torch.tensor([unet.IGNORE] * 8 + [1] * 8 + [0] * 8)).all()


def test_split_is_stratified_by_species_and_loses_no_photograph(unet, archives):
    grey = {
        f"jpg{i:04}": picture(np.full((9, 9, 3), i % 250, np.uint8), "PNG") for i in NUMBERS
    }
    splits = unet.read_flowers(*archives(**grey), 8, fewest=30)
    found = {k: sorted(images[:, 0, 0, 0].tolist()) for k, (images, _) in splits.items()}
    assert {k: len(v) for k, v in found.items()} == {"train": 21, "val": 3, "test": 6}
    assert sorted(x for v in found.values() for x in v) == sorted(i % 250 for i in NUMBERS)
    assert found["test"] == sorted(i % 250 for i in (5, 10, 15, 20, 965, 970))


@pytest.mark.parametrize("which", [0, 1])
def test_any_flipped_bit_or_cut_of_an_archive_is_noticed(unet, archives, which):
    paths = archives()
    whole = paths[which].read_bytes()
    places = np.linspace(60, len(whole) - 5, 12).astype(int)  # after gzip's own header
    damaged = [whole[:i] + bytes([whole[i] ^ 16]) + whole[i + 1 :] for i in places]
    for content in [*damaged, whole[: len(whole) // 2], b"<html>moved</html>", b""]:
        paths[which].write_bytes(content)
        with pytest.raises(ValueError, match=rf"{paths[which].name}.*(damaged|expected)"):
            unet.read_flowers(*paths, 8, fewest=30)


def test_an_archive_that_unpacks_to_too_much_is_refused(unet, archives, monkeypatch):
    monkeypatch.setattr(unet, "MOST_BYTES", 10_000)
    with pytest.raises(ValueError, match=r"17flowers\.tgz.*more than 10,000 bytes"):
        unet.read_numbered(archives()[0])


@pytest.mark.parametrize("changed", ["jpg0003", "png0003"])
def test_a_damaged_image_is_named_with_its_archive(unet, archives, changed):
    name = "17flowers" if changed.startswith("jpg") else "trimaps"
    for content in (b"no image", PHOTO[:300]):
        with pytest.raises(ValueError, match=rf"{name}\.tgz: image_0003.*damaged image"):
            unet.read_flowers(*archives(**{changed: content}), 8, fewest=30)


@pytest.mark.parametrize(("changes", "fewest"), [({}, 31), ({"jpg0003": None}, 20)])
def test_too_few_pairs_or_a_trimap_by_itself_are_refused(unet, archives, changes, fewest):
    with pytest.raises(ValueError, match=r"trimaps.tgz: \d+ pairs, expected"):
        unet.read_flowers(*archives(**changes), 8, fewest=fewest)


# --- nuclei ----------------------------------------------------------------------------------


def test_nuclei_are_those_of_the_data_notes_and_test_on_the_other_field(unet):
    splits = unet.read_nuclei(NUCLEI)
    assert {k: tuple(x.shape) for k, (x, _) in splits.items()} == {
        "train": (72, 1, 120, 128),
        "val": (18, 1, 120, 128),
        "test": (90, 1, 120, 128),
    }
    first = torch.cat([splits["train"][1], splits["val"][1]])
    for masks, expected in (
        (first, [0.882, 0.019, 0.099]),
        (splits["test"][1], [0.935, 0.010, 0.056]),
    ):
        shares = torch.bincount(masks.flatten().long()) / masks.numel()
        assert shares.tolist() == pytest.approx(expected, abs=6e-4)


def test_tiles_keep_image_and_mask_together_and_the_right_fifth_validates(unet):
    with zipfile.ZipFile(NUCLEI) as file:
        labels = np.asarray(Image.open(io.BytesIO(file.read("cellunet/data/labels0.tif"))))
    splits = unet.read_nuclei(NUCLEI)
    assert np.array_equal(splits["train"][1][9], labels[120:240, 128:256])  # row 1, column 1
    assert np.array_equal(splits["val"][1][1], labels[:120, 9 * 128 :])
    for images, masks in splits.values():
        bright = images[:, 0].float()
        assert bright[masks == 2].mean() > bright[masks == 0].mean() + 50


@pytest.mark.parametrize("damage", ["cut", "empty", "changed", "missing", "huge"])
def test_damaged_or_other_nuclei_are_refused_by_name(unet, tmp_path, monkeypatch, damage):
    path = tmp_path / "nuclei.zip"
    whole = NUCLEI.read_bytes()
    if damage == "huge":
        monkeypatch.setattr(unet, "MOST_BYTES", 10_000)
    if damage in ("changed", "missing"):
        with zipfile.ZipFile(NUCLEI) as old, zipfile.ZipFile(path, "w") as new:
            new.writestr("cellunet/data/nuc0.png", old.read("cellunet/data/nuc0.png"))
            if damage == "changed":
                new.writestr("cellunet/data/labels0.tif", b"of another version")
    else:
        path.write_bytes({"cut": whole[:-5000], "empty": b"", "huge": whole}[damage])
    member = r"labels0\.tif" if damage in ("changed", "missing") else r"nuc0\.png"
    with pytest.raises(ValueError, match=rf"nuclei\.zip: {member}"):
        unet.read_nuclei(path)


def test_wheel_is_downloaded_without_running_code_and_with_a_time_limit(
    unet, tmp_path, monkeypatch
):
    def pip(command, **options):
        assert {"--only-binary=:all:", "--no-input", "--no-deps", "cellunet==0.2.2"} <= {
            *command
        }
        assert 0 < options["timeout"] <= 300
        (folder,) = (x.removeprefix("--dest=") for x in command if x.startswith("--dest="))
        with zipfile.ZipFile(f"{folder}-made", "w"):
            pass
        (tmp_path / "part.pip").mkdir()
        (tmp_path / "part.pip" / "cellunet-0.2.2-py3-none-any.whl").write_bytes(b"wheel")
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(subprocess, "run", pip)
    unet.pip_wheel("cellunet==0.2.2", str(tmp_path / "part"), None)
    assert (tmp_path / "part").read_bytes() == b"wheel"
    failed = subprocess.CompletedProcess([], 1, stderr="WARNING: x\nERROR: no route to host\n")
    monkeypatch.setattr(subprocess, "run", lambda *args, **options: failed)
    with pytest.raises(OSError, match="no route to host"):
        unet.pip_wheel("cellunet==0.2.2", str(tmp_path / "other"), None)


# --- tensors ---------------------------------------------------------------------------------


def make_data(unet, change=lambda images, masks: None, n=4, classes=("a", "b", "c")):
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (n, 3, 16, 24), generator=generator).byte()
    masks = torch.zeros(n, 16, 24).byte()
    masks[:, :4], masks[:, 4:5], masks[:, 5:7] = 1, 2, unet.IGNORE
    change(images, masks)
    splits = {"train": (images, masks), "val": (images, masks), "test": (images[:n], masks[:n])}
    return unet.SegmentationData("leaves", classes, (-1,), splits)


def test_normalised_images_have_mean_0_variance_1_and_rare_classes_weigh_more(unet):
    data = make_data(unet)
    x = data.normalise(data.splits["train"][0])
    torch.testing.assert_close(x.mean((0, 2, 3)), torch.zeros(3), atol=1e-4, rtol=0)
    torch.testing.assert_close(x.std((0, 2, 3)), torch.ones(3), atol=1e-4, rtol=0)
    assert x.is_contiguous(memory_format=torch.channels_last)
    weights = data.class_weights / data.class_weights[0]
    torch.testing.assert_close(weights, torch.tensor([1.0, 1.5, 3.0]))  # 9, 4, 1 rows
    assert data.class_weights.mean() == pytest.approx(1)


@pytest.mark.parametrize(
    ("change", "n", "message"),
    [
        (lambda x, y: y.fill_(0), 4, "leaves: class 'b' is absent"),
        (lambda x, y: y[0, 0].fill_(3), 4, "leaves: 'train' has a label"),
        (lambda x, y: x[:, 1].fill_(7), 4, "leaves: an image channel is constant"),
        (lambda x, y: None, 0, "leaves: split 'train' is empty"),
    ],
)
def test_data_that_cannot_be_learned_are_refused_by_name(unet, change, n, message):
    with pytest.raises(ValueError, match=message):
        make_data(unet, change, n)


def test_augmentation_mirrors_image_and_mask_together_along_the_given_axes_only(unet):
    masks = (torch.arange(16 * 24).view(1, 16, 24) % 251).byte().repeat(64, 1, 1)
    draws = torch.rand(64, 5, generator=torch.Generator().manual_seed(0))
    for flips, n_kinds in (((), 1), ((-1,), 2), ((-1, -2), 4)):
        x, y = unet.augment(masks[:, None], masks, draws, flips)
        assert torch.equal(x[:, 0], y.float())
        assert len({tuple(mask.flatten().tolist()) for mask in y}) == n_kinds
    x, y = unet.augment(masks[:, None], masks, draws, (-1,))
    turned = draws[:, 0] < 0.5
    assert torch.equal(y[turned], masks[turned].flip(-1))
    assert torch.equal(y[~turned], masks[~turned])


def test_augmentation_changes_contrast_brightness_and_saturation_of_photographs(unet):
    data = make_data(unet)
    images, masks = (x.repeat(2, *[1] * (x.dim() - 1)) for x in data.splits["train"])
    draws = torch.full((8, 5), 0.5)  # the middle of each range: no change but the flip's
    x, _ = unet.augment(images, masks, draws, ())
    torch.testing.assert_close(x, images.float())
    grey = (images // 2 + 50).float()
    for column, statistic in (
        (2, lambda x: x.std()),
        (3, lambda x: x.mean()),
        (4, lambda x: x.std(0).mean()),
    ):
        values = []
        for draw in (0.0, 1.0):
            draws = torch.full((8, 5), 0.5)
            draws[:, column] = draw
            x, y = unet.augment(grey, masks, draws, ())
            assert torch.equal(y, masks)
            assert 0 <= x.min() <= x.max() <= 255
            values.append(float(torch.stack([statistic(image) for image in x]).mean()))
        assert values[1] / values[0] == pytest.approx(1.5, rel=0.05)  # 1.2 / 0.8
