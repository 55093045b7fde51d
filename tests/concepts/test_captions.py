import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from emobench.concepts.captions import HIGH, LOW, Caption, CaptionWriter, fit, score_table, teachable

CONCEPTS = ("smile", "frown", "raised brows", "closed eyes")
EMOTIONS = ("happy", "sad")
SCORES = st.one_of(st.floats(0, 1, width=32), st.just(float("nan")))
WRITER = CaptionWriter(CONCEPTS, EMOTIONS, 0.5)


def mentioned(text):
    return {name for name in (*CONCEPTS, *EMOTIONS) if name in text}


@given(arrays(np.float32, (5, 4), elements=SCORES), st.integers(0, 2**32))
def test_a_composed_caption_mentions_only_what_the_image_shows_and_says_so(scores, seed):
    table = score_table(scores, np.array([0, 1, 0, 1, 1]), 2)
    for row in table:
        caption = WRITER.composed(row, np.random.default_rng(seed))
        if caption is not None:
            names = [(*CONCEPTS, *EMOTIONS)[column] for column in caption.mentions]
            assert mentioned(caption.text) == set(names)
            assert len(names) == len(set(names)) <= 4
            assert all(row[column] > LOW for column in caption.mentions)


def test_high_scores_are_mentioned_more_often_than_middling_ones():
    rng = np.random.default_rng(0)
    row = np.array([1.0, 0.6, 0.4, 0.0, 0.0, 0.0])
    captions = [WRITER.composed(row, rng) for _ in range(300)]
    counts = [sum(column in caption.mentions for caption in captions) for column in range(4)]
    assert counts[0] > 1.3 * counts[1] > 0
    assert counts[2:] == [0, 0]


def test_an_image_without_any_high_concept_gets_its_emotion_or_nothing():
    row = np.array([0.0, np.nan, 0.2, 0.5, 0.0, 1.0])
    always, never = (CaptionWriter(CONCEPTS, EMOTIONS, share) for share in (1.0, 0.0))
    assert mentioned(always.composed(row, np.random.default_rng(0)).text) == {"sad"}
    assert never.composed(row, np.random.default_rng(0)) is None


def test_emotions_are_named_in_their_share_of_the_captions():
    rows = score_table(np.full((400, 4), 0.9, np.float32), np.arange(400) % 2, 2)
    rng = np.random.default_rng(0)
    named = [len(mentioned(WRITER.composed(row, rng).text) & set(EMOTIONS)) for row in rows]
    assert np.mean(named) == pytest.approx(0.5, abs=0.1)
    without = CaptionWriter(CONCEPTS, EMOTIONS, 0.0)
    assert {len(caption.mentions) for caption in without.single(rng)} == {1}
    assert len(without.single(rng)) == len(CONCEPTS)


def test_a_batch_has_each_text_once_and_every_bare_concept_sooner_or_later():
    rng = np.random.default_rng(1)
    scores = score_table(rng.random((30, 4), dtype=np.float32), rng.integers(0, 2, 30), 2)
    seen = set()
    for _ in range(20):
        texts = [caption.text for caption in WRITER.batch(scores, 10, rng)]
        assert len(texts) == len(set(texts)) <= 10 + len(CONCEPTS) + len(EMOTIONS)
        seen |= set(texts)
    assert seen > {*CONCEPTS, *EMOTIONS}


def test_the_word_list_covers_all_captions():
    rng = np.random.default_rng(2)
    scores = score_table(rng.random((50, 4), dtype=np.float32), rng.integers(0, 2, 50), 2)
    known = set(" ".join(WRITER.texts()).replace(",", " , ").replace(":", " : ").split())
    for _ in range(20):
        for caption in WRITER.batch(scores, 50, rng):
            assert set(caption.text.replace(",", " , ").replace(":", " : ").split()) <= known


@given(
    arrays(np.float32, (6, 4), elements=SCORES),
    st.lists(st.sets(st.integers(0, 3), min_size=1), min_size=1, max_size=5),
)
def test_the_fit_is_that_of_the_least_fitting_mention(scores, mentions):
    targets, known = fit(scores, [Caption("", tuple(sorted(group))) for group in mentions])
    for image in range(6):
        for number, group in enumerate(mentions):
            values = [scores[image, column] for column in group]
            measured = [value for value in values if not np.isnan(value)]
            ramps = [min(max((value - LOW) / (HIGH - LOW), 0), 1) for value in measured]
            expected_known = len(measured) == len(values) or 0 in ramps
            assert known[image, number] == expected_known
            if expected_known:
                assert targets[image, number] == pytest.approx(min(ramps), abs=1e-6)


def test_teachable_needs_images_with_and_without_the_concept():
    scores = np.array([[0.9, 0.9, 0.1, np.nan, np.nan], [0.1, 0.8, 0.2, np.nan, 0.9], [0.6, 0.7, 0.3, np.nan, 0.5]])
    assert teachable(scores).tolist() == [True, False, False, False, True]


def test_a_score_table_without_emotions_is_the_annotations():
    scores = np.array([[0.1, np.nan]], np.float32)
    np.testing.assert_array_equal(score_table(scores, np.array([3]), 0), scores)
