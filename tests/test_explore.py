"""The page of `explore`, in a browser: it decodes as the model does, and slots can be changed."""

import base64
import io
import json

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from iodine import config, loading
from iodine.errors import UserError
from iodine.evaluate import explore, readouts
from iodine.evaluate.explore_decoder import describe
from tests.helpers import browser, tiny

pytestmark = pytest.mark.usefixtures("eagerly")

NUM_LATENTS = 20
PAGES = tiny.ROOT / "docs" / "play"
# All but those that the page refuses.
SHIPPED = sorted(
    path.parent.name
    for path in tiny.ROOT.glob("checkpoints/*/ckpt-*.index")
    if not path.parent.name.startswith(("air", "rnn_nem"))
)
# Random weights, of models that are not shipped, in a size that their configs do not have.
DECONVOLUTIONS = {
    "constructor": "iodine.modules.networks.BroadcastDeConv",
    "cnn_opt": {
        "output_channels": [8, 8, 6, None],
        "kernel_shapes": [3, 5, 4, 3],
        "strides": [1, 2, 3, 1],
        "activation": "elu",
    },
    "coord_type": "cos",
    "coord_freqs": 3,
}
RANDOM = {
    "demo_vae": {},
    "slot_attention_clevr6": {"image_dim": [50, 70]},
    "demo": {"model.decoder.pixel_decoder": DECONVOLUTIONS, "image_dim": [13, 17]},
}
DECODE = """async ({ script, description, weights, latents, size: [height, width] }) => {
    const worker = new Worker(URL.createObjectURL(new Blob([script])));
    const floats = new Float32Array(Uint8Array.from(atob(weights), (c) => c.charCodeAt(0)).buffer);
    worker.postMessage({ description, weights: floats });
    return new Promise((resolve, reject) => {
        worker.onerror = reject;
        worker.onmessage = ({ data }) => resolve(data.decoded.map(
            ({ logits, pixels }) => ({ logits: Array.from(logits), pixels: Array.from(pixels) })));
        worker.postMessage({ latents, height, width });
    });
}"""


@pytest.fixture(scope="module")
def chromium():
    with browser.chromium() as found:
        yield found


def opened_model(name):
    """(model, (H, W, C)) of a shipped model, or of one with random weights."""
    if name in SHIPPED:
        opened = loading.open_model(name)
        return opened.model, opened.dataset.image_shape
    tf.random.set_seed(0)
    dataset, model, _ = loading.build_parts(config.get_config(name, RANDOM[name]))
    model.initialize(dataset.image_shape)
    return model, dataset.image_shape


@pytest.mark.parametrize("name", [*SHIPPED, *RANDOM])
def test_the_page_decodes_as_the_model_does(name, chromium, tmp_path):
    model, image_shape = opened_model(name)
    description, weights = describe(model)
    num_scenes = -(-NUM_LATENTS // model.num_components)
    shape = (num_scenes, model.num_components, model.n_z)
    z = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    blank = tmp_path / "blank.html"
    blank.write_text('<link rel="icon" href="data:,">')
    page, messages = browser.open_page(chromium, blank)
    # Full size, and a coarse one as while something is dragged.
    for divisor in (1, 2) if image_shape[0] < 100 else (4,):
        *size, channels = *[length // divisor for length in image_shape[:2]], image_shape[2]
        given = {"description": description, "weights": explore.encode_floats(weights)}
        given |= {"latents": z.reshape(-1, model.n_z).tolist(), "size": size}
        script = (explore.FILES / "decoder.js").read_text()
        found = page.evaluate(DECODE, {"script": script, **given})
        expected = model.decode(tf.constant(z), (*size, channels))
        pixels = np.reshape([each["pixels"] for each in found], expected["components"].shape)
        assert np.abs(pixels - expected["components"]).max() < 1e-4
        logits = np.float32([each["logits"] for each in found]).reshape(expected["pred_mask"].shape)
        masks = tf.nn.softmax(logits, axis=1).numpy()
        assert np.abs(masks - expected["pred_mask"].numpy()).max() < 1e-4
        assert np.ptp(expected["components"]) > 1e-3  # There is something to compare.
    assert messages == []
    page.close()


def test_clevr_is_decoded_at_its_full_size_too(chromium, tmp_path):
    model, image_shape = opened_model("clevr6_fast")
    description, weights = describe(model)
    z = np.random.default_rng(1).normal(size=(1, 7, 64)).astype(np.float32)
    blank = tmp_path / "blank.html"
    blank.write_text('<link rel="icon" href="data:,">')
    page, _ = browser.open_page(chromium, blank)
    given = {"description": description, "weights": explore.encode_floats(weights)}
    given |= {"latents": z[0, :1].tolist(), "size": image_shape[:2]}
    script = (explore.FILES / "decoder.js").read_text()
    (found,) = page.evaluate(DECODE, {"script": script, **given})
    expected = model.decode(tf.constant(z))["components"][0, 0]
    assert np.abs(np.reshape(found["pixels"], expected.shape) - expected).max() < 1e-4
    page.close()


# ---------------------------------------------------------------- the page


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """The page of demo_fast, as the command writes it."""
    path = tmp_path_factory.mktemp("explore") / "page.html"
    code, stdout, stderr = tiny.run_here("explore", "with", "demo_fast", f"out={path}", "seed=0")
    assert code == 0, stderr
    assert f"wrote {path}" in stdout
    return path


@pytest.fixture
def page(chromium, path):
    """That page, decoded; afterwards it must have met no error and asked for nothing."""
    page, messages = browser.open_page(chromium, path, viewport={"width": 1280, "height": 1000})
    settled(page)
    yield page
    assert messages == []
    page.close()


def settled(page):
    page.wait_for_function("isIdle() && !drag")


def content_of(path):
    """What a page holds."""
    text = path.read_text().split('<script type="application/json" id="content">')[1]
    return json.loads(text.split("</script>")[0])


def slots_of(page):
    """The slots of the scene on the page, [K, Z]."""
    return np.float32(page.evaluate("scene().slots.map((slot) => Array.from(slot.z))"))


def shown(page, element="reconstruction"):
    """What a canvas shows, [H, W, 3] from 0 to 1."""
    page.mouse.move(0, 0)  # What is pointed at is lit up.
    page.wait_for_function("!drawing")
    url = page.evaluate("(id) => document.getElementById(id).toDataURL()", element)
    image = Image.open(io.BytesIO(base64.b64decode(url.split(",")[1]))).convert("RGB")
    return np.asarray(image) / 255


def decoded(page):
    model, _ = opened_model("demo_fast")
    return model.decode(tf.constant(slots_of(page)[None]))


def object_centre(out, k):
    """Centre (x, y) of where a slot's mask shows something bright, in pixels."""
    brightness = np.max(np.clip(out["components"][0, k], 0, 1), axis=-1)
    weights = out["pred_mask"].numpy()[0, k, ..., 0] * brightness * (brightness > 0.5)
    y, x = np.indices(weights.shape) + 0.5
    return np.array([np.sum(weights * x), np.sum(weights * y)]) / np.sum(weights)


def bright_slots(page):
    """Slots that show an object."""
    out = decoded(page)
    brightness = np.max(out["components"][0], axis=-1) * out["pred_mask"][0, ..., 0]
    return [k for k, seen in enumerate(brightness) if np.sum(seen > 0.5) > 8]


def place_of(page, x, y):
    """Where a place in the image is on the screen."""
    box = page.locator("#reconstruction").bounding_box()
    _, width = page.evaluate("content.size")
    scale = box["width"] / width
    return box["x"] + x * scale, box["y"] + y * scale


def test_another_scene_may_be_chosen_before_the_last_was_drawn(page):
    for scene in (1, 2):  # `page` fails on any error.
        page.evaluate("(i) => { redraw(); showScene(i); }", scene)
        settled(page)


def test_the_first_scene_is_shown_as_the_model_reconstructs_it(page):
    expected = np.clip(decoded(page)["recons"][0, 0], 0, 1)
    assert np.abs(shown(page) - expected).max() <= 0.5 / 255 + 1e-4
    image = content_of_image(page)
    assert np.mean(np.square(image - expected)) < 0.01


def content_of_image(page):
    page.wait_for_function("document.getElementById('image').width === 14")
    return shown(page, "image")


def test_the_page_is_one_small_file_that_names_no_other(path):
    text = path.read_text()
    assert len(text) < 1_000_000
    assert "http" not in text.replace("http://www.w3.org", "")
    assert ' src="decoder.js"' not in text and "page.css" not in text


@pytest.mark.parametrize("dx, dy", [(2.5, 0.0), (-2.0, 2.0)])
def test_a_drag_moves_the_masks_centre_by_what_was_dragged(page, dx, dy):
    moved = 0
    for scene in range(3):
        page.evaluate("(i) => showScene(i)", scene)
        settled(page)
        centres = {k: object_centre(decoded(page), k) for k in bright_slots(page)}
        for k, start in centres.items():
            goal = start + [dx, dy]
            others = [c for j, c in centres.items() if j != k]
            # Beside the border and behind another ball a centre is not that of the ball.
            if min(*goal, *(14 - goal), *start, *(14 - start)) < 2.5:
                continue
            if min(np.hypot(*(goal - c)) for c in others) < 5:
                continue
            page.mouse.move(*place_of(page, *start))
            page.mouse.down()
            assert page.evaluate("scene().selected") == k
            for share in np.linspace(0, 1, 9)[1:]:
                page.mouse.move(*place_of(page, *(start + share * (goal - start))))
            page.mouse.up()
            settled(page)
            found = object_centre(decoded(page), k)
            assert np.hypot(*(found - goal)) < 2.0
            assert np.hypot(*(found - start)) > 1.0
            moved += 1
            page.evaluate("resetScene()")
            settled(page)
    assert moved


def test_switching_a_slot_off_removes_its_object_and_on_brings_it_back(page):
    before = shown(page)
    k = bright_slots(page)[0]
    page.locator("#slots input").nth(k).hover()
    x, y = np.int32(object_centre(decoded(page), k))
    page.locator("#slots input").nth(k).uncheck()
    assert before[y, x].max() > 0.5 > shown(page)[y, x].max()
    assert np.abs(shown(page) - before).max(axis=-1).mean() < 0.3  # the others stay
    page.locator("#slots input").nth(k).check()
    assert (shown(page) == before).all()


def test_the_keyboard_chooses_moves_and_switches(page):
    k = bright_slots(page)[0]
    start = object_centre(decoded(page), k)
    page.locator("#reconstruction").focus()
    page.keyboard.press(str(k + 1))
    assert page.locator("#panel-title").inner_text() == f"Slot {k + 1}"
    step = -1 if start[0] > 7 else 1
    for _ in range(2):
        page.keyboard.press("ArrowLeft" if step < 0 else "ArrowRight")
        settled(page)
    found = object_centre(decoded(page), k)
    assert np.hypot(*(found - start - [2 * step, 0])) < 1.5
    page.keyboard.press("Space")
    assert not page.locator("#slots input").nth(k).is_checked()
    assert f"Slot {k + 1} is off" in page.locator("#status").inner_text()


def test_a_slot_is_copied_into_another_scene_pasted_added_and_blended(page):
    copied = slots_of(page)[1]
    page.locator("#slots button").nth(1).click()
    page.get_by_role("button", name="Copy").click()
    page.locator("#scenes button").nth(2).click()
    settled(page)
    own = slots_of(page)
    page.locator("#slots button").nth(0).click()
    page.get_by_label("Blend with").fill("0.25")
    settled(page)
    np.testing.assert_allclose(slots_of(page)[0], 0.75 * own[0] + 0.25 * copied, atol=1e-5)
    page.get_by_role("button", name="Paste here").click()
    np.testing.assert_array_equal(slots_of(page)[0], copied)
    np.testing.assert_array_equal(slots_of(page)[1:], own[1:])
    page.get_by_role("button", name="Add as a new slot").click()
    settled(page)
    np.testing.assert_array_equal(slots_of(page), [copied, *own[1:], copied])
    page.get_by_role("button", name="Reset scene").click()
    settled(page)
    np.testing.assert_array_equal(slots_of(page), own)


def test_refinements_are_stepped_through_from_the_first_guess(page, path):
    content = content_of(path)
    latents = np.frombuffer(base64.b64decode(content["latents"]), "<f4")
    shape = (len(content["scenes"]), content["states"], content["slots"], -1)
    latents = latents.reshape(shape)
    for state in (0, 3):
        page.get_by_label("Refinements").fill(str(state))
        settled(page)
        np.testing.assert_array_equal(slots_of(page), latents[0, state])
    assert page.locator("#state-value").inner_text() == "after 3 of 8"


def test_a_slider_changes_what_its_name_says(page):
    page.locator("#slots button").nth(bright_slots(page)[0]).click()
    for name in ("Left – right", "Red"):
        i = [r["name"] for r in page.evaluate("readouts")].index(name)
        before = page.evaluate("readouts.map((r) => readout(r, selected().z))")
        low, high = page.evaluate("(i) => readouts[i].range", i)
        page.get_by_label(name).fill(str(low + (high - low) * 0.5))
        settled(page)
        after = page.evaluate("readouts.map((r) => readout(r, selected().z))")
        others = [j for j in range(len(after)) if j != i]
        assert after[i] == pytest.approx((low + high) / 2, abs=(high - low) / 100)
        np.testing.assert_allclose(np.take(after, others), np.take(before, others), atol=0.05)


def test_slots_are_drawn_from_the_prior_and_reset(page):
    own = slots_of(page)
    page.get_by_role("button", name="Draw all slots from the prior").click()
    settled(page)
    drawn = slots_of(page)
    assert (drawn != own).all()
    assert 0.3 < drawn.std() < 1.5  # sqrt(ln 2) = 0.83
    page.get_by_role("button", name="Reset slot").click()
    np.testing.assert_array_equal(slots_of(page)[0], own[0])
    np.testing.assert_array_equal(slots_of(page)[1:], drawn[1:])


def test_the_image_is_saved_as_a_file(page, tmp_path):
    with page.expect_download() as download:
        page.get_by_role("button", name="Save image").click()
    assert download.value.suggested_filename == "demo_fast-Scene 1.png"
    assert download.value.path().read_bytes().startswith(b"\x89PNG")


def test_a_phone_shows_the_whole_width(chromium, path):
    page, messages = browser.open_page(chromium, path, viewport={"width": 360, "height": 740})
    settled(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert messages == []
    page.close()


def test_images_of_ones_own_are_shown_and_a_model_without_prior_hides_it(chromium, tmp_path):
    rng = np.random.default_rng(0)
    tf.keras.utils.save_img(tmp_path / "mine.png", rng.random((35, 35, 3)))
    out = tmp_path / "page.html"
    words = [f"image={tmp_path}/mine.png", f"out={out}", "seed=0"]
    code, _, stderr = tiny.run_here("explore", "with", "slot_attention_tetrominoes_fast", *words)
    assert code == 0, stderr
    page, messages = browser.open_page(chromium, out)
    settled(page)
    assert page.get_by_role("img", name="mine.png").count() == 1
    assert not page.get_by_role("button", name="Draw from the prior").is_visible()
    assert page.get_by_label("Refinements").is_visible()
    assert messages == []
    page.close()


# ---------------------------------------------------------------- without a browser


@pytest.mark.parametrize("path", sorted(PAGES.glob("*.html")), ids=lambda path: path.stem)
def test_a_page_of_the_documentation_is_what_explore_makes_of_its_content(path):
    assert path.read_text() == explore.fill_page(content_of(path))


def test_the_page_calls_an_image_so():
    for name in ("page.html", "page.js"):
        assert "picture" not in (explore.FILES / name).read_text().lower()


@pytest.mark.parametrize("name, kind", [("air_small", "AIR"), ("rnn_nem_shapes", "RNNNEM")])
def test_a_model_whose_decoder_the_page_cannot_compute_is_refused_in_a_line(name, kind, tmp_path):
    code, _, stderr = tiny.run_here("explore", "with", name, f"out={tmp_path}/page.html")
    assert code == 1
    line = f"error: explore cannot show this model: {kind} has no decoder of slots that it knows"
    assert stderr.splitlines()[-1] == line
    assert not (tmp_path / "page.html").exists()


def test_a_deconvolutional_decoder_is_refused():
    dataset, model, _ = loading.build_parts(config.get_config("demo_deconv", {}))
    model.initialize(dataset.image_shape)
    with pytest.raises(UserError, match="a DeConv, which makes one size only"):
        describe(model)


def test_explore_asks_where_to_write():
    code, _, stderr = tiny.run_here("explore", "with", "demo_fast")
    assert code == 1 and "out=page.html" in stderr.splitlines()[-1]


def test_an_object_is_measured_where_it_changes_the_scene():
    components = np.zeros([1, 2, 10, 20, 3], np.float32)
    logits = np.zeros([1, 2, 10, 20, 1], np.float32)
    components[0, 1, 2:4, 5:10] = [1.0, 0.5, 0.0]
    logits[0, 1, 2:4, 5:10] = 50.0
    properties, is_object = readouts.measure(components, logits)
    expected = [7.5 / 20, 3 / 10, np.sqrt(10 / 200), 1.0, 0.5, 0.0]
    np.testing.assert_allclose(properties[0, 1], expected, atol=1e-6)
    assert is_object.tolist() == [[False, True]]


def test_a_direction_changes_one_read_out_alone():
    rng = np.random.default_rng(0)
    z = rng.normal(size=(400, 5))
    true = rng.normal(size=(2, 5))
    w, b = readouts.fit(z, z @ true.T + [3.0, -1.0])
    np.testing.assert_allclose(w, true, atol=0.1)
    np.testing.assert_allclose(readouts.directions(z, w) @ w.T, np.eye(2), atol=1e-4)
    assert b == pytest.approx([3.0, -1.0], abs=0.1)
