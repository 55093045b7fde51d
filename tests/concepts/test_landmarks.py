import importlib.metadata
import importlib.util
import io
import shutil
import subprocess
import sys
import types
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from emobench.concepts import landmarks
from emobench.concepts.landmarks import find_landmarks
from emobench.doctor import PARTS
from emobench.errors import UserError

SHARED = Path(__file__).parents[2].parent / "shared"
MODEL = SHARED / "models" / "face_landmarker.task"
ARCHIVE = SHARED / "fer2013" / "archive.zip"


@pytest.fixture
def model():
    """The real landmarker; skips without it."""
    if importlib.util.find_spec("mediapipe") is None:
        pytest.skip("mediapipe is not installed (extra 'landmarks')")
    if not MODEL.is_file():
        pytest.skip(f"no {MODEL}")
    found, without = PARTS["EGL, GLES"]
    if found() is None:
        pytest.skip(without)
    return MODEL


@pytest.fixture
def photos():
    """60 faces of FER2013; skips without the archive."""
    if not ARCHIVE.is_file():
        pytest.skip(f"no {ARCHIVE}")
    with zipfile.ZipFile(ARCHIVE) as archive:
        names = sorted(name for name in archive.namelist() if name.startswith("test/") and name.endswith(".jpg"))[::120]
        return np.stack([np.asarray(Image.open(io.BytesIO(archive.read(name))).convert("L")) for name in names[:60]])


def blank(count):
    return np.full((count, 48, 48), 128, np.uint8)


def fake_mediapipe(monkeypatch, error):
    """A mediapipe whose landmarker can't be opened."""

    def fail(*args):
        raise error

    vision = types.SimpleNamespace(
        FaceLandmarkerOptions=lambda **_: None, FaceLandmarker=types.SimpleNamespace(create_from_options=fail)
    )
    python = types.ModuleType("mediapipe.tasks.python")
    python.BaseOptions, python.vision = lambda **_: None, vision
    for name, module in {
        "mediapipe": types.ModuleType("mediapipe"),
        "mediapipe.tasks": types.ModuleType("mediapipe.tasks"),
        "mediapipe.tasks.python": python,
    }.items():
        monkeypatch.setitem(sys.modules, name, module)


def test_a_missing_model_is_named(tmp_path):
    with pytest.raises(UserError, match=r"no landmark model .*gone\.task; expected .* \.task file"):
        find_landmarks(blank(1), tmp_path / "gone.task", tmp_path, digest="a")


def test_without_mediapipe_the_extra_is_named(tmp_path, monkeypatch):
    def missing(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", missing)
    (tmp_path / "m.task").write_bytes(b"x")
    with pytest.raises(UserError, match=r"needs mediapipe; install it: pip install 'emobench\[landmarks\]'"):
        find_landmarks(blank(1), tmp_path / "m.task", tmp_path, digest="a")


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError("libGLESv2.so.2: cannot open shared object file"), r"libGLESv2.*apt-get install libegl1 libgles2"),
        (ImportError("no wheel"), r"can't be imported \(no wheel\); install it: pip install 'emobench\[landmarks\]'"),
        (ValueError("Unable to open zip archive."), r"m\.task is no MediaPipe face landmarker model .*zip archive"),
        (
            FileNotFoundError("No file with name: x.tflite"),
            r"m\.task is no MediaPipe face landmarker model .*x\.tflite",
        ),
    ],
)
def test_what_keeps_the_landmarker_from_opening_is_told(tmp_path, monkeypatch, error, message):
    fake_mediapipe(monkeypatch, error)
    (tmp_path / "m.task").write_bytes(b"x")
    with pytest.raises(UserError, match=message):
        landmarks._open_landmarker(tmp_path / "m.task")


def test_the_frame_keeps_the_face_in_the_middle_on_its_mean_grey():
    image = np.zeros((48, 48), np.uint8)
    image[:, 24:] = 200
    framed = landmarks._framed(image)
    assert framed.shape == (landmarks.SIZE, landmarks.SIZE)
    assert framed.dtype == np.uint8
    assert abs(int(framed[5, 5]) - 100) <= 1
    assert framed[128, 100] < 10
    assert framed[128, 156] > 190


def test_the_frame_of_a_large_picture_keeps_its_size_and_colours():
    image = np.zeros((224, 224, 3), np.uint8)
    image[..., 0] = 240
    framed = landmarks._framed(image)
    assert framed.shape == (374, 374, 3), "a third of 224 on each side"
    assert framed[187, 187].tolist() == [240, 0, 0]
    assert framed[2, 2].tolist() == [80, 80, 80]
    grey = landmarks._framed(np.full((48, 48), 9, np.uint8))
    assert grey.shape == (256, 256)


def test_points_are_in_pixels_of_the_picture_at_any_size(monkeypatch):
    seen = []

    class Landmarker:
        def __enter__(self):
            return self

        def __exit__(self, *args):
            return None

        def detect(self, data):
            seen.append(data.shape)
            return types.SimpleNamespace(face_landmarks=[[types.SimpleNamespace(x=0.5, y=0.2, z=0.1)] * 478])

    mediapipe = types.SimpleNamespace(
        Image=lambda image_format, data: data, ImageFormat=types.SimpleNamespace(SRGB="srgb")
    )
    monkeypatch.setattr(landmarks, "_open_landmarker", lambda model: (mediapipe, Landmarker()))
    for shape in ((2, 48, 48), (2, 224, 224, 3)):
        side = shape[1]
        framed = side + 2 * round(side / 3)
        points = landmarks._points(np.zeros(shape, np.uint8), Path("m.task"))
        expected = [0.5 * framed - round(side / 3), 0.2 * framed - round(side / 3), 0.1 * framed]
        np.testing.assert_allclose(points[1, 7], expected, atol=1e-4)
        assert expected[0] == side / 2, "the middle stays the middle"
    assert seen == [(256, 256, 3)] * 2 + [(374, 374, 3)] * 2


def test_native_messages_go_to_the_log(tmp_path, capfd):
    import os

    with landmarks._native_messages_to(tmp_path / "log"):
        os.write(2, b"INFO: delegate\n")
    os.write(2, b"after\n")
    assert (tmp_path / "log").read_bytes() == b"INFO: delegate\n"
    assert capfd.readouterr().err == "after\n"


@pytest.mark.real
@pytest.mark.slow
def test_real_faces_are_found_at_their_places_and_kept(model, photos, tmp_path, monkeypatch):
    monkeypatch.setattr(landmarks, "CHUNK", 25)
    points = find_landmarks(photos, model, tmp_path, digest="a", workers=2)
    assert points.shape == (60, 478, 3)
    assert points.dtype == np.float32
    found = ~np.isnan(points[:, 0, 0])
    assert found.mean() > 0.85
    # The left eye of the picture is left of the right one, above the mouth, and all of them inside the picture.
    faces = points[found]
    right, left, mouth = faces[:, 33], faces[:, 263], faces[:, 13]
    assert (right[:, 0] < left[:, 0]).mean() > 0.95
    assert (right[:, 1] < mouth[:, 1]).mean() > 0.95
    assert ((mouth[:, :2] > 0) & (mouth[:, :2] < 48)).mean() > 0.95
    # A killed run leaves some chunks: only what is missing is found anew, and the same for one worker.
    chunks = sorted(tmp_path.glob("*/*.npy"))
    assert len(chunks) == 3
    chunks[1].unlink()
    kept = [chunks[0].stat().st_mtime_ns, chunks[2].stat().st_mtime_ns]
    np.testing.assert_array_equal(find_landmarks(photos, model, tmp_path, digest="a", workers=1), points)
    assert [chunks[0].stat().st_mtime_ns, chunks[2].stat().st_mtime_ns] == kept
    # With everything kept no process is started; another set's are not taken.
    monkeypatch.setattr(landmarks, "ProcessPoolExecutor", None)
    np.testing.assert_array_equal(find_landmarks(photos, model, tmp_path, digest="a"), points)
    with pytest.raises(TypeError):
        find_landmarks(photos, model, tmp_path, digest="b")


@pytest.mark.real
def test_a_file_that_is_no_landmarker_is_named(model, tmp_path):
    wrong = tmp_path / "half.task"
    with zipfile.ZipFile(model) as whole, zipfile.ZipFile(wrong, "w") as half:
        half.writestr("face_detector.tflite", whole.read("face_detector.tflite"))
    with pytest.raises(UserError, match=r"half\.task is no MediaPipe face landmarker model .*face_landmarks_detector"):
        find_landmarks(blank(2), wrong, tmp_path, digest="a")
    assert not list(tmp_path.glob("*/*.npy"))


@pytest.mark.real
@pytest.mark.slow
def test_nothing_phones_home(model, tmp_path):
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    script = tmp_path / "run.py"
    script.write_text(
        "import numpy, pathlib, sys\n"
        "from emobench.concepts.landmarks import find_landmarks\n"
        "if __name__ == '__main__':\n"
        "    images = numpy.full((2, 48, 48), 128, numpy.uint8)\n"
        "    model, work = map(pathlib.Path, sys.argv[1:3])\n"
        "    points = find_landmarks(images, model, work, digest='a', workers=1)\n"
        "    assert numpy.isnan(points).all()\n"
    )
    trace = tmp_path / "trace"
    command = [
        "strace",
        "-f",
        "-e",
        "trace=connect,sendto,sendmmsg",
        "-o",
        trace,
        sys.executable,
        script,
        model,
        tmp_path,
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    if "ptrace" in done.stderr:
        pytest.skip("strace may not trace here")
    assert done.returncode == 0, done.stderr
    calls = [line for line in trace.read_text().splitlines() if "AF_INET" in line or "msg_iov" in line]
    assert [line for line in calls if 'inet_addr("127.0.0.1")' not in line] == []
    assert list(tmp_path.glob("*/*.npy"))
