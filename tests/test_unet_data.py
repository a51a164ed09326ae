"""Reading, splitting and augmenting the images of the U-Net notebook."""

import io
import subprocess
import zipfile

import numpy as np
import pytest
import torch
from definitions import ROOT, write_tgz
from PIL import Image

NUCLEI = ROOT / "data" / "nuclei.zip"
CPU = torch.device("cpu")
LABELED = [n for n in range(1, 1361) if n % 8 < 5]  # 50 of 80 photographs of each species


def png(pixels):
    buffer = io.BytesIO()
    Image.fromarray(np.asarray(pixels, np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


TRIMAP = png(
    [[(128, 0, 0)] * 3 + [(0, 0, 0)] * 3 + [(128, 128, 0)] * 3 + [(0, 0, 128)] * 3] * 12
)


@pytest.fixture(scope="module")
def archives(tmp_path_factory):
    """Archives of 1360 photographs whose color is their number, and of 850 trimaps."""
    folder = tmp_path_factory.mktemp("flowers")
    photos, trimaps = {"jpg/files.txt": b"a list"}, {"trimaps/imlist.mat": b"a list"}
    for n in range(1, 1361):
        photos[f"jpg/image_{n:04}.jpg"] = png(np.tile([n // 256, n % 256, 7], (4, 4, 1)))
    for n in LABELED:
        trimaps[f"trimaps/image_{n:04}.png"] = TRIMAP
    write_tgz(folder / "17flowers.tgz", photos)
    write_tgz(folder / "trimaps.tgz", trimaps)
    return folder / "17flowers.tgz", folder / "trimaps.tgz"


@pytest.fixture(scope="module")
def flowers(unet, archives):
    return unet.read_flowers(*archives, 4, CPU)


@pytest.fixture(scope="module")
def fields(unet):
    return [unet.read_field(NUCLEI, 0), unet.read_field(NUCLEI, 1)]


# --- flowers


def test_colors_of_a_trimap_become_labels(unet, flowers):
    for images, masks in flowers.values():
        assert images.shape[1:] == (3, 4, 4)
        assert images.dtype == masks.dtype == torch.uint8
        assert (masks == torch.tensor([1, unet.IGNORE, 0, 0])).all()


def test_of_ten_labeled_photographs_of_a_species_seven_train_one_validates_two_test(flowers):
    expected = {"train": [], "val": [], "test": []}
    for first in range(1, 1361, 80):
        species = [n for n in LABELED if first <= n < first + 80]
        for i in range(0, 50, 10):
            a, b, val, c, test1, d, e, f, g, test2 = species[i : i + 10]
            expected["train"] += [a, b, c, d, e, f, g]
            expected["val"].append(val)
            expected["test"] += [test1, test2]
    for part, (images, _) in flowers.items():
        colors = images[:, :, 0, 0].int()
        assert (256 * colors[:, 0] + colors[:, 1]).tolist() == expected[part]


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("damage", ["cut", "a page of the web"])
def test_damaged_archive_of_flowers_is_named(unet, archives, tmp_path, which, damage):
    paths = list(archives)
    whole = paths[which].read_bytes()
    content = whole[: len(whole) // 2] if damage == "cut" else damage.encode()
    paths[which] = tmp_path / paths[which].name
    paths[which].write_bytes(content)
    with pytest.raises(ValueError, match=paths[which].name):
        unet.read_flowers(*paths, 4, CPU)


def test_too_few_trimaps_are_refused_by_name(unet, archives, tmp_path):
    write_tgz(tmp_path / "few.tgz", {"trimaps/image_0001.png": TRIMAP})
    with pytest.raises(ValueError, match=r"few\.tgz.* 1 "):
        unet.read_flowers(archives[0], tmp_path / "few.tgz", 4, CPU)


def test_real_flowers_have_their_known_shares(unet):
    try:
        paths = [unet.fetch(f"{name}.tgz", "file:///none") for name in ("17flowers", "trimaps")]
    except FileNotFoundError:
        pytest.skip("needs the archives in the folder that A4_DATA_DIR names")
    splits = unet.read_flowers(*paths, 24, CPU)
    assert sum(len(images) for images, _ in splits.values()) == 846
    masks = torch.cat([masks for _, masks in splits.values()])
    shares = [(masks == label).float().mean().item() for label in (0, 1, unet.IGNORE)]
    assert shares == pytest.approx([0.58, 0.27, 0.135], abs=0.015)


# --- nuclei


def read_png(member):
    with zipfile.ZipFile(NUCLEI) as file:
        return np.asarray(Image.open(io.BytesIO(file.read(f"cellunet/data/{member}"))))


@pytest.mark.parametrize("number", [0, 1])
def test_tiles_are_cut_at_their_places(fields, number):
    image, labels = fields[number]
    whole = read_png(f"labels{number}.tif")
    bright = read_png(f"nuc{number}.png")
    limits = np.percentile(bright, (1, 99.8))
    bright = np.interp(bright, limits, (0, 255))
    assert image.shape == labels.shape == (9, 10, 120, 128)
    for row, column in np.ndindex(9, 10):
        y, x = 120 * row, 128 * column
        assert np.array_equal(labels[row, column], whole[y : y + 120, x : x + 128])
        difference = image[row, column].numpy() - bright[y : y + 120, x : x + 128]
        assert np.abs(difference).max() <= 0.5 + 1e-6  # only rounded


def test_training_validation_and_test_tiles_do_not_overlap(unet):
    numbers = torch.arange(90, dtype=torch.uint8).view(9, 10, 1, 1).expand(9, 10, 120, 128)
    other = numbers + 100
    splits = unet.nuclei_splits((numbers, numbers), (other, other), CPU)
    left = {10 * row + column for row in range(9) for column in range(8)}
    expected = {"train": left, "val": {*range(90)} - left, "test": {*range(100, 190)}}
    for part, (images, masks) in splits.items():
        assert images.shape[1:] == (1, 120, 128)
        assert torch.equal(images[:, 0], masks)
        found = masks[:, 0, 0].tolist()
        assert set(found) == expected[part]
        assert len(found) == len(expected[part])


def test_damaged_archive_of_nuclei_is_named(unet, tmp_path):
    path = tmp_path / "nuclei.zip"
    path.write_bytes(NUCLEI.read_bytes()[:-5000])
    with pytest.raises(ValueError, match=r"nuclei\.zip"):
        unet.read_field(path, 0)


def test_failed_download_of_the_wheel_shows_what_pip_said(unet, tmp_path, monkeypatch):
    pip = subprocess.CompletedProcess([], 1, "Looking\n", "ERROR: no route\n\033[0m")
    monkeypatch.setattr(subprocess, "run", lambda *_, **options: pip)
    with pytest.raises(OSError, match="Looking\nERROR: no route"):
        unet.download_wheel("cellunet==0.2.2", str(tmp_path / "file"), None)


# --- data sets


@pytest.fixture
def datasets(unet, monkeypatch):
    """All data sets that are loaded where the flowers cannot be had."""

    def fetch(name, *args, **options):
        if name != "nuclei.zip":
            raise FileNotFoundError(name)
        return NUCLEI

    monkeypatch.setattr(unet, "fetch", fetch)
    return unet.load_datasets(CPU)


def test_without_flowers_the_nuclei_are_loaded_in_both_directions(datasets):
    first, second = datasets.values()
    assert [*datasets] == ["nuclei 0 to 1", "nuclei 1 to 0"]
    for a, b in ((first, second), (second, first)):
        test = a.splits["test"][1]
        other = torch.cat([b.splits["train"][1], b.splits["val"][1]])
        assert torch.equal(test.long().sum(), other.long().sum())


def make_data(unet, masks):
    images = torch.randint(256, (len(masks), 3, 16, 24), generator=torch.manual_seed(0)).byte()
    splits = {"train": (images, masks), "val": (images, masks), "test": (images, masks)}
    return unet.SegmentationData(["a", "b", "c"], splits, augment=None, mirrors=[])


@pytest.fixture
def rows(unet):
    """Masks with 9 rows of class 0, 4 of class 1, 1 of class 2 and 2 unlabeled."""
    labels = torch.tensor([0] * 9 + [1] * 4 + [2] + [unet.IGNORE] * 2).byte()
    return labels.view(1, 16, 1).repeat(4, 1, 24)


def test_normalized_training_images_have_mean_0_and_deviation_1(unet, rows):
    data = make_data(unet, rows)
    x = data.normalize(data.splits["train"][0])
    torch.testing.assert_close(x.mean(dim=(0, 2, 3)), torch.zeros(3), atol=1e-4, rtol=0)
    torch.testing.assert_close(x.std(dim=(0, 2, 3)), torch.ones(3), atol=1e-4, rtol=0)


def test_class_weights_are_one_over_the_root_of_the_frequency(unet, rows):
    weights = make_data(unet, rows).class_weights
    torch.testing.assert_close(weights / weights[2], torch.tensor([1 / 3, 1 / 2, 1]))


def test_class_absent_from_training_is_refused_by_name(unet, rows):
    with pytest.raises(ValueError, match="class b"):
        make_data(unet, rows.where(rows != 1, 0))


def test_augmentation_mirrors_image_and_mask_together(unet, datasets):
    torch.manual_seed(0)
    tile = (torch.arange(12 * 16) % 251).view(12, 16).byte()
    masks = tile.expand(64, 12, 16)
    x, y = unet.augment_batch(datasets["nuclei 0 to 1"], masks[:, None], masks)
    assert torch.equal(x[:, 0], y)
    mirrored = [tile, tile.flip(-1), tile.flip(-2), tile.flip(-2, -1)]
    for mask in y:
        assert any(torch.equal(mask, other) for other in mirrored)
    assert len(y.unique(dim=0)) == 4
