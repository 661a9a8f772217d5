"""Images for networks: as torchvision makes them, and mirrored."""

import numpy as np
import pytest
import torch

from og_reid.data.images.preprocess import mirror_images, preprocess_image
from pose.runtime.torchvision_import import import_torchvision


def photo(height: int = 150, width: int = 60) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_values_by_hand():
    image = np.full((20, 10, 3), (255, 0, 51), dtype=np.uint8)
    result = preprocess_image(image)
    assert result.shape == (3, 384, 128)
    expected = torch.tensor([(1 - 0.485) / 0.229, -0.456 / 0.224, (0.2 - 0.406) / 0.225])
    torch.testing.assert_close(result, expected[:, None, None].expand(3, 384, 128))


@pytest.mark.parametrize("shape", [(150, 60), (384, 128), (1000, 300)])
def test_equals_the_transforms_of_the_authors(shape):
    try:
        transforms = import_torchvision("the test", "make test").transforms
    except ImportError as error:
        pytest.skip(str(error))
    from PIL import Image

    chain = transforms.Compose(
        [
            transforms.Resize((384, 128), interpolation=transforms.InterpolationMode.BICUBIC),
            transforms.ToTensor(),
            transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
        ]
    )
    image = photo(*shape)
    assert torch.equal(preprocess_image(image), chain(Image.fromarray(image)))


def test_mirroring_swaps_left_and_right():
    images = torch.arange(24.0).reshape(2, 1, 3, 4)
    heatmaps = torch.arange(8.0).reshape(2, 2, 1, 2)
    chosen = torch.tensor([True, False])
    swapped, maps = mirror_images(images, heatmaps, chosen)
    assert swapped[0, 0, 0].tolist() == [3, 2, 1, 0]
    assert maps[0, 1, 0].tolist() == [3, 2]
    assert torch.equal(swapped[1], images[1])
    assert torch.equal(maps[1], heatmaps[1])


def test_bad_images_are_refused():
    for bad in (photo().astype(float), photo()[..., 0], photo()[:0]):
        with pytest.raises(ValueError, match=r"image must be \(H, W, 3\) uint8 RGB"):
            preprocess_image(bad)
