import numpy as np
import pytest
from small_clip import CONFIG, random_clip

from emobench.concepts import embedding
from emobench.concepts.clip import ClipModel, Origin, preprocessing, ready
from emobench.concepts.embedding import embed_all

IMAGES = np.random.default_rng(0).integers(0, 256, (23, 40, 40, 3), dtype=np.uint8)


@pytest.fixture
def clip():
    return ready(random_clip(), CONFIG, preprocessing(32, [0.5] * 3, [0.25] * 3), Origin("checkpoint", "small"), "cpu")


def counted(monkeypatch, stop_at=None):
    """Batches as they are embedded; the one at ``stop_at`` is not reached."""
    whole, seen = ClipModel.embed_batch, []

    def embed(self, images):
        if len(seen) == stop_at:
            raise KeyboardInterrupt
        seen.append(len(images))
        return whole(self, images)

    monkeypatch.setattr(ClipModel, "embed_batch", embed)
    return seen


def test_all_images_are_embedded_batch_by_batch(clip, tmp_path, monkeypatch):
    expected, seen = clip.embed_images(IMAGES, 5), counted(monkeypatch)
    vectors = np.load(embed_all(clip, IMAGES, 5, tmp_path / "work"))
    np.testing.assert_array_equal(vectors, expected)
    assert seen == [5, 5, 5, 5, 3]


def test_an_interrupted_run_goes_on_and_ends_the_same(clip, tmp_path, monkeypatch):
    expected = clip.embed_images(IMAGES, 5)
    monkeypatch.setattr(embedding, "SAVED", 2)
    with monkeypatch.context() as patch:
        counted(patch, stop_at=3)
        with pytest.raises(KeyboardInterrupt):
            embed_all(clip, IMAGES, 5, tmp_path)
    seen = counted(monkeypatch)
    np.testing.assert_array_equal(np.load(embed_all(clip, IMAGES, 5, tmp_path)), expected)
    assert seen == [5, 5, 3], "two batches were noted"


def test_a_note_without_its_vectors_counts_for_nothing(clip, tmp_path, monkeypatch):
    (tmp_path / "done").write_text("20")
    with monkeypatch.context() as patch:
        counted(patch, stop_at=1)
        with pytest.raises(KeyboardInterrupt):
            embed_all(clip, IMAGES, 5, tmp_path)
    np.testing.assert_array_equal(np.load(embed_all(clip, IMAGES, 5, tmp_path)), clip.embed_images(IMAGES, 5))
