"""Figures and overview pictures show what they should, where they should."""

import inspect
import os
import pathlib

import numpy as np
import pytest
import tensorflow as tf
from matplotlib import pyplot as plt
from matplotlib.colors import to_rgb

from iodine.errors import UserError
from iodine.evaluate import metrics
from iodine.evaluate.factors import match_objects, select_objects
from iodine.figures import curves, decompositions, latents, summary_images, tiles
from iodine.figures.colors import slot_colors
from iodine.figures.report import Report
from iodine.modules.distribution import LocScaleDistribution

B, T, K, L, H, W, Z = 2, 3, 4, 3, 6, 8, 5
INPUTS = ("image", "log_prob", "mask", "pred_mask", "components", "dmask", "dcomponents")
INPUTS += ("posterior", "capacity", "coordinates", "counterfactual")
RED, CYAN = (1.0, 0.0, 0.0), (0.0, 1.0, 1.0)


def random_info(truth=True):
    """What `IODINE.eval` returns, with random numbers of the right shapes."""
    rng = np.random.default_rng(0)

    def one_hot(groups):
        return np.moveaxis(np.eye(groups)[rng.integers(groups, size=(H, W))], -1, 0)[..., None]

    shared = ("image", "log_prob", "coordinates")
    channels = {"image": 3, "components": 3, "dcomponents": 3, "coordinates": 2}
    info = {
        "data": {"image": rng.random((B, 1, H, W, 3))},
        "inputs": {
            "spatial": {
                name: rng.normal(
                    size=(B, T, 1 if name in shared else K, H, W, channels.get(name, 1))
                )
                for name in INPUTS
            },
            "flat": {
                "zp": rng.normal(size=(B, T, K, 2 * Z)),
                "dzp": rng.normal(size=(B, T, K, 2 * Z)),
                "flat_capacity": np.full((B, T, K, 1), 0.5),
            },
        },
        "outputs": {
            "recons": rng.random((B, T, 1, H, W, 3)),
            "components": rng.random((B, T, K, H, W, 3)),
            "pred_mask_logits": rng.normal(size=(B, T, K, H, W, 1)),
            "pred_mask": np.stack([[one_hot(K) for _ in range(T)] for _ in range(B)]),
        },
        "losses": {
            "total": 1.0,
            "recons": rng.normal(size=(B, T)),
            "kl": rng.random((B, T, K)),
        },
        "metrics": {"mse": rng.random((B, T))},
    }
    if truth:
        info["data"]["true_mask"] = np.stack([[one_hot(L)] for _ in range(B)])
        info["metrics"] |= {"ari": rng.random((B, T)), "ari_nobg": rng.random((B, T))}
    return info


def given_metrics(info):
    """{metric: [B, T]} of all that there are."""
    outcome = metrics.Outcome(info, num_background=1)
    values = {name: metric.measure(outcome) for name, metric in metrics.METRICS.items()}
    return {name: np.asarray(value) for name, value in values.items() if value is not None}


def shown(ax):
    """The array of the only picture on an axis."""
    (image,) = ax.get_images()
    return np.asarray(image.get_array())


def tile_axes(figure, columns):
    """The axes of a figure of tiles as a list of rows."""
    axes = figure.get_axes()
    return [axes[i : i + columns] for i in range(0, len(axes) - len(axes) % columns, columns)]


@pytest.fixture(autouse=True)
def closed_figures():
    """Closes what a test opened."""
    yield
    plt.close("all")


# ---------------------------------------------------------------- single pictures


def test_masks_are_shown_in_evenly_spaced_hues():
    masks = np.zeros((2, 1, 2))
    masks[0, 0, 0] = masks[1, 0, 1] = 1.0
    tiles.show_mask(masks)
    np.testing.assert_array_equal(shown(plt.gca()), [[RED, CYAN]])


def test_true_masks_have_a_grey_background_and_hues_for_objects():
    tiles.show_mask(np.eye(3).reshape(3, 1, 3), background=True)
    np.testing.assert_array_equal(shown(plt.gca()), [[[0.25] * 3, RED, CYAN]])


def test_an_image_is_clipped_made_rgb_and_white_where_its_mask_is_zero():
    tiles.show_img(np.array([[[-1.0], [2.0], [0.5]]]), np.array([[[1.0], [1.0], [0.0]]]))
    np.testing.assert_array_equal(shown(plt.gca()), [[[0.0] * 3, [1.0] * 3, [1.0] * 3]])


def test_an_image_may_be_stretched_to_its_own_range():
    tiles.show_img(np.array([[[-1.0], [2.0], [0.5]]]), norm=True)
    np.testing.assert_array_equal(shown(plt.gca()), [[[0.0] * 3, [1.0] * 3, [0.5] * 3]])


def test_a_matrix_has_a_channel_and_limits():
    image = tiles.show_mat(np.array([[[1.0], [2.0]]]), vmin=0.0, vmax=4.0)
    np.testing.assert_array_equal(shown(plt.gca()), [[1.0, 2.0]])
    assert image.get_clim() == (0.0, 4.0)


def test_coordinate_channels_stand_side_by_side_in_a_square():
    coordinates = np.stack([np.full((2, 2), value) for value in (0.1, 0.2, 0.3)], axis=-1)
    tiles.show_coords(coordinates)
    array = shown(plt.gca())
    assert array.shape == (5, 5)
    assert (array[0, 0], array[0, 4], array[4, 0]) == (0.1, 0.2, 0.3)
    assert np.isnan(array[4, 4]) and np.isnan(array[2, 0])


@pytest.mark.parametrize("name", ["show_img", "show_mask", "show_mat", "show_coords"])
def test_a_picture_needs_no_axis_and_takes_what_the_reference_takes(name):
    show, picture = getattr(tiles, name), np.random.default_rng(0).random((3, 3, 3))
    show(picture, color=RED, figsize=(2, 1))
    (number,) = plt.get_fignums()
    figure = plt.figure(number)
    assert figure.get_size_inches().tolist() == [2, 1]
    assert to_rgb(figure.axes[0].spines["left"].get_edgecolor()) == RED
    ax = plt.figure().subplots()
    show(picture, ax=ax)
    assert len(ax.get_images()) == 1 and len(plt.get_fignums()) == 2
    wanted = {"show_img": ["img", "mask", "ax", "norm"], "show_mat": ["m", "ax", "vmin", "vmax"]}
    first = wanted.get(name, ["masks" if name == "show_mask" else "m", "ax"])
    assert list(inspect.signature(show).parameters)[: len(first)] == first


# ---------------------------------------------------------------- figures of scenes


def test_the_decomposition_shows_image_reconstruction_masks_and_components():
    info = random_info()
    rows = tile_axes(decompositions.example_plot(info, [1, 0], t=1), 4 + K)
    outputs = info["outputs"]
    for row, scene in zip(rows, [1, 0]):
        np.testing.assert_array_equal(shown(row[0]), info["data"]["image"][scene, 0])
        np.testing.assert_array_equal(shown(row[1]), outputs["recons"][scene, 1, 0])
        for k in range(K):
            np.testing.assert_array_equal(shown(row[4 + k]), outputs["components"][scene, 1, k])
            frame = row[4 + k].spines["left"].get_edgecolor()
            assert to_rgb(frame) == slot_colors(K)[k]
        assert row[0].get_ylabel() == f"ARI {info['metrics']['ari_nobg'][scene, 1]:.2f}"
    assert [ax.get_title() for ax in rows[0][4:]] == [f"slot {k + 1}" for k in range(K)]
    assert not any(ax.get_title() for ax in rows[1])


def test_columns_and_rows_may_be_called_otherwise():
    figure = decompositions.example_plot(
        random_info(), [0, 1], column_titles=["input", "output"], row_labels=["a", "b"]
    )
    rows = tile_axes(figure, 4 + K)
    assert [ax.get_title() for ax in rows[0]] == ["input", "output", *[""] * (2 + K)]
    assert [row[0].get_ylabel() for row in rows] == ["a", "b"]


def test_masked_components_are_white_outside_of_their_masks():
    info = random_info()
    row = decompositions.example_plot(info, 0, mask_components=True).get_axes()
    mask = info["outputs"]["pred_mask"][0, -1, 2, ..., 0] == 1.0
    picture = shown(row[4 + 2])
    assert np.all(picture[~mask] == 1.0)
    np.testing.assert_array_equal(picture[mask], info["outputs"]["components"][0, -1, 2][mask])


def test_without_ground_truth_there_are_no_true_masks_and_the_error_stands_for_the_ari():
    info = random_info(truth=False)
    axes = decompositions.example_plot(info, 0).get_axes()
    assert len(axes) == 3 + K
    assert axes[0].get_ylabel() == f"MSE\n{info['metrics']['mse'][0, -1]:.4f}"
    last = tile_axes(decompositions.iterations_plot(info, 0), 2 + K)[-1]
    assert last[0].get_images() and not last[1].get_images()
    assert set(given_metrics(info)) == {"mse", "recons", "kl"}


def test_a_row_is_an_iteration_and_the_last_one_holds_true_masks_and_final_logits():
    info = random_info()
    rows = tile_axes(decompositions.iterations_plot(info, 1), 2 + K)
    outputs = info["outputs"]
    assert len(rows) == T + 1
    for t in range(T):
        np.testing.assert_array_equal(shown(rows[t][0]), outputs["recons"][1, t, 0])
        for k in range(K):
            component = outputs["components"][1, t, k]
            np.testing.assert_array_equal(shown(rows[t][2 + k]), component)
        assert rows[t][0].get_ylabel() == f"iteration {t}"
    np.testing.assert_array_equal(shown(rows[T][0]), info["data"]["image"][1, 0])
    background = info["data"]["true_mask"][1, 0, 0, ..., 0] == 1
    assert np.all(shown(rows[T][1])[background] == 0.25)
    for k in range(K):
        logits = outputs["pred_mask_logits"][1, -1, k, ..., 0]
        np.testing.assert_array_equal(shown(rows[T][2 + k]), logits)
    limits = {ax.get_images()[0].get_clim() for ax in rows[T][2:]}
    assert len(limits) == 1, "all logits share one scale"


def test_of_a_sequence_the_last_frame_is_shown():
    info = random_info(truth=False)
    frames = np.random.default_rng(1).random((B, T, H, W, 3))
    info["data"]["image"] = frames
    rows = tile_axes(decompositions.iterations_plot(info, 0), 2 + K)
    np.testing.assert_array_equal(shown(rows[T][0]), frames[0, -1])
    np.testing.assert_array_equal(
        shown(decompositions.example_plot(info, 0).axes[0]), frames[0, -1]
    )


def test_models_are_shown_below_each_other_for_each_scene():
    one, two = random_info(), random_info()
    for name in ("recons", "components", "pred_mask"):
        two["outputs"][name] = 1 - two["outputs"][name][:, :, : K - 1]
    rows = tile_axes(decompositions.comparison_plot([one, two], ["one", "two"], [1, 0]), 4 + K)
    for number, row in enumerate(rows):
        scene, info = [1, 1, 0, 0][number], [one, two][number % 2]
        assert row[0].get_ylabel().split("\n")[0] == ["one", "two"][number % 2]
        np.testing.assert_array_equal(shown(row[2]), info["outputs"]["recons"][scene, -1, 0])
        components = info["outputs"]["components"][scene, -1]
        for ax, component in zip(row[4:], components):
            np.testing.assert_array_equal(shown(ax), component)
        assert not any(ax.get_images() for ax in row[4 + len(components) :])
        if number % 2:
            assert not row[0].get_images() and not row[1].get_images()
        else:
            np.testing.assert_array_equal(shown(row[0]), one["data"]["image"][scene, 0])
    titles = [ax.get_title() for ax in rows[0]]
    assert titles[:4] == ["image", "true\nmasks", "recon-\nstruction", "masks"]


def test_the_inputs_show_everything_but_the_constant_ones():
    info = random_info()
    axes = decompositions.inputs_plot(info, 0, t=1).get_axes()
    columns = len(INPUTS) - 1
    spatial, flat = axes[: K * columns], axes[K * columns :]
    titles = [ax.get_title() for ax in spatial[:columns]]
    expected = [title for name, title in decompositions.INPUT_TITLES.items() if name in INPUTS]
    assert titles == expected and len(titles) == columns
    column = titles.index("mask\nposterior")
    for k in range(K):
        value = info["inputs"]["spatial"]["posterior"][0, 1, k, ..., 0]
        np.testing.assert_array_equal(shown(spatial[k * columns + column]), value)
    assert len(flat) == 2
    np.testing.assert_array_equal(shown(flat[1]), info["inputs"]["flat"]["dzp"][0, 1])


def test_the_curves_are_those_of_the_scenes_and_their_mean():
    info = random_info()
    values = given_metrics(info)
    axes = curves.curves_plot(values, metrics.METRICS).get_axes()
    names = [name for name in metrics.METRICS if name in values]
    assert len(names) == 13
    titles = [ax.get_title() for ax in axes if ax.get_visible()]
    assert titles == [metrics.METRICS[name].label for name in names]
    kl = info["losses"]["kl"].sum(axis=-1)
    lines = [line.get_ydata() for line in axes[names.index("kl")].get_lines()]
    np.testing.assert_allclose(lines, [*kl, kl.mean(axis=0)])


def test_a_scene_without_an_object_has_no_curve_and_is_in_no_mean():
    info = random_info()
    info["metrics"]["ari_nobg"] = np.array([[0.25, 0.5, 1.0], [np.nan] * 3])
    (ax,) = curves.curves_plot(
        given_metrics(info), {"ari_nobg": metrics.METRICS["ari_nobg"]}
    ).get_axes()
    assert ax.get_lines()[-1].get_ydata().tolist() == [0.25, 0.5, 1.0]
    assert ax.get_ylim() == (-0.05, 1.05)
    labels = [
        rows[0].get_ylabel() for rows in tile_axes(decompositions.example_plot(info, [0, 1]), 4 + K)
    ]
    assert labels == ["ARI 1.00", "no object"]


def test_the_curves_of_slots_have_their_colours_and_those_of_factors_their_names():
    info = random_info()
    axes = curves.slot_kl_plot(info, [1, 0]).get_axes()
    for ax, b in zip(axes, [1, 0]):
        lines = ax.get_lines()
        np.testing.assert_array_equal(
            [line.get_ydata() for line in lines], info["losses"]["kl"][b].T
        )
        assert [line.get_color() for line in lines] == slot_colors(K)
    info["losses"]["factor"] = np.arange(T)
    info["factor_regressor"] = {"metrics": {"color": np.arange(T) + 5}}
    axes = curves.factor_curves_plot(info).get_axes()
    drawn = {ax.get_title(): ax.get_lines()[0].get_ydata().tolist() for ax in axes}
    assert drawn == {"factor loss": [0, 1, 2], "color": [5, 6, 7]}


def test_samples_stand_above_their_masks():
    rng = np.random.default_rng(0)
    recons, masks = rng.random((4, 1, H, W, 3)), np.zeros((4, K, H, W, 1))
    masks[:, 0] = 1.0
    rows = tile_axes(decompositions.samples_plot(recons, masks, columns=2), 2)
    assert len(rows) == 4
    np.testing.assert_array_equal(shown(rows[2][1]), recons[3, 0])
    assert np.all(shown(rows[3][1]) == RED)


# ---------------------------------------------------------------- TensorBoard's pictures


def test_overview_pictures_lay_out_tiles_with_borders():
    image = tf.fill([2, 1, 3, 3, 1], 0.25)
    recons = tf.fill([2, 1, 3, 3, 1], 2.0)
    masks = tf.concat([tf.ones([2, 1, 3, 3, 1]), tf.zeros([2, 1, 3, 3, 1])], axis=1)
    components = tf.concat([image, recons], axis=1)
    picture = summary_images.draw_overview(image, recons, masks, components).numpy()
    assert picture.shape == (1, 2 * 7, 5 * 7, 3)
    centers = picture[0, 3::7, 3::7]
    np.testing.assert_array_equal(centers[0], [[0.25] * 3, [1] * 3, RED, [0.25] * 3, [1] * 3])
    borders = picture[0, 1::7, 1::7, 0]
    np.testing.assert_array_equal(borders[1], [0.5, 0.5, 1.0, 0.5, 0.5])


def test_the_sequence_has_iterations_across_and_scenes_below_each_other():
    frames = tf.reshape(tf.linspace(0.0, 0.5, 6), [2, 3, 1, 1, 1])
    masks = tf.ones([2, 3, 1, 1, 1, 1])
    picture = summary_images.draw_sequence(frames, frames + 0.5, masks).numpy()
    assert picture.shape == (1, 2 * 3 * 5, 3 * 5, 3)
    centers = picture[0, 2::5, 2::5, 1]
    expected = np.linspace(0.0, 0.5, 6).reshape(2, 3)
    np.testing.assert_allclose(centers[[0, 3]], expected, rtol=1e-6)
    np.testing.assert_allclose(centers[[1, 4]], expected + 0.5, rtol=1e-6)
    np.testing.assert_array_equal(picture[0, 2::5, 2::5][[2, 5]], np.full((2, 3, 3), RED))


def test_samples_fill_their_grid_row_by_row():
    images = tf.reshape(tf.linspace(0.0, 1.0, 8), [8, 1, 1, 1, 1])
    picture = summary_images.draw_samples(images).numpy()
    np.testing.assert_allclose(
        picture[0, 2::5, 2::5, 0], np.linspace(0, 1, 8).reshape(2, 4), rtol=1e-6
    )


# ---------------------------------------------------------------- latents


class LinearModel:
    """Stands where a model is asked for: pixel c of a scene is the sum of the slots' latent c."""

    latent_dist = LocScaleDistribution("normal", scale="var")
    n_z = 3

    @staticmethod
    def decode(z, image_shape):
        return {"recons": tf.reshape(tf.reduce_sum(z, axis=1), [-1, 1, *image_shape])}


def test_a_traversal_changes_one_latent_of_one_slot():
    z = np.float32([[1, 2, 3], [10, 20, 30]])
    images = latents.traverse(LinearModel, z, slot=1, latent=2, image_shape=(1, 1, 3))
    np.testing.assert_allclose(images[:, 0, 0, :2], [[11, 22]] * 9)
    np.testing.assert_allclose(images[:, 0, 0, 2], 3 + np.linspace(-1.25, 1.25, 9), rtol=1e-6)


def test_latents_are_ordered_by_a_divergence_that_sums_to_the_slots():
    params = tf.random.stateless_normal([2, 6], seed=[0, 0])
    dist = LinearModel.latent_dist
    kl = latents.latent_kl(LinearModel, dist(params).mean(), dist(params).stddev())
    assert kl.shape == (2, 3)
    np.testing.assert_allclose(kl.sum(axis=-1), dist.kl_to_prior(params), rtol=1e-5)


def test_traversals_are_ordered_by_kl():
    info = random_info()
    info["data"]["image"] = np.zeros((1, 1, 1, 1, 3))
    info["losses"]["kl"] = np.zeros((1, 1, 2))
    info["losses"]["kl"][0, 0] = [1.0, 2.0]
    mean = np.float32([[[[0, 3, 1], [5, 0, 2]]]])
    info["latent"] = {"z_mean": mean, "z_std": np.ones_like(mean)}
    figure = latents.traversal_plot(LinearModel, info, num_latents=2)
    rows = tile_axes(figure, 9)
    labels = [row[0].get_ylabel().split("\n")[0] for row in rows]
    assert labels == ["slot 2, z1", "slot 2, z3", "slot 1, z2", "slot 1, z3"]
    assert rows[0][0].get_title() == "-1.25" and rows[0][8].get_title() == "+1.25"


def test_objects_get_the_latents_of_the_slot_that_covers_them_best():
    true_mask = np.zeros((1, 1, 4, 1, 4, 1), np.float32)
    true_mask[0, 0, 0, 0, 0] = true_mask[0, 0, 1, 0, 1:3] = true_mask[0, 0, 2, 0, 3] = 1.0
    pred_mask = np.zeros((1, 2, 2, 1, 4, 1), np.float32)
    pred_mask[0, 0, 0] = 1.0  # an earlier iteration, which does not count
    pred_mask[0, 1, 0, 0, :, 0] = [0.9, 0.2, 0.3, 0.6]
    pred_mask[0, 1, 1] = 1.0 - pred_mask[0, 1, 0]
    info = {
        "data": {
            "true_mask": true_mask,
            "visibility": np.float32([[1, 1, 0, 1]]),
            "factors": {"x": np.float32([[[7], [8], [9], [6]]])},
        },
        "outputs": {"pred_mask": pred_mask},
        "latent": {"z_mean": np.float32([[[[0], [0]], [[10], [20]]]])},
    }
    matched = {name: np.asarray(value) for name, value in match_objects(info, 1).items()}
    np.testing.assert_array_equal(matched["latents"], [[[10], [20], [10], [10]]])
    selected = select_objects(matched)
    # Neither the background, nor what is invisible, nor what shows no pixel.
    np.testing.assert_array_equal(selected["latents"], [[20]])
    np.testing.assert_array_equal(selected["factor/x"], [[8]])


def test_projections_keep_far_clusters_apart_and_have_a_column_for_each_value():
    rng = np.random.default_rng(0)
    label = np.arange(40) % 2
    points = rng.normal(scale=0.1, size=(40, 6)) + 10.0 * label[:, None]
    projections = latents.project(points)
    for flat in projections.values():
        centers = flat[label == 0].mean(axis=0), flat[label == 1].mean(axis=0)
        spread = max(flat[label == i].std() for i in (0, 1))
        assert np.linalg.norm(centers[0] - centers[1]) > 2 * spread
    factors = {"color": rng.random((40, 3)), "shape": label[:, None], "position": points[:, :2]}
    figure = latents.projection_plot(projections, factors, {"shape": "categorical"})
    rows = tile_axes(figure, 4)[:2]
    titles = [ax.get_title() for ax in rows[0]]
    assert titles == ["color", "shape", "position 1", "position 2"]
    colors = rows[0][0].collections[0].get_facecolors()
    np.testing.assert_allclose(colors[:, :3], factors["color"])
    np.testing.assert_allclose(rows[1][3].collections[0].get_offsets(), projections["t-SNE"])


# ---------------------------------------------------------------- the page


def test_a_report_holds_its_figures_and_escapes_its_texts(tmp_path):
    report = Report(tmp_path / "new", "a < b")
    figure = curves.curves_plot(given_metrics(random_info()), metrics.METRICS)
    report.add_table([["head"], ["<cell>"]])
    report.add_figure("curves", figure, "caption & more")
    page = open(report.write(), encoding="utf-8").read()
    for text in ("a &lt; b", "&lt;cell&gt;", "caption &amp; more", "data:image/png;base64,iVBOR"):
        assert text in page
    assert "http" not in page and 'src="curves' not in page
    assert sorted(p.name for p in (tmp_path / "new").iterdir()) == ["curves.png", "report.html"]
    assert not plt.fignum_exists(figure.number), "a report of many figures would fill the memory"


def test_a_page_shows_names_that_are_no_text(tmp_path):
    report = Report(tmp_path, os.fsdecode(b"pictures/\xff.png"))
    report.add_text(os.fsdecode(b"\xfe.png"))
    page = pathlib.Path(report.write()).read_text(encoding="utf-8")
    assert "<h1>pictures/?.png</h1>" in page and "<p>?.png</p>" in page


def test_a_report_takes_no_directory_that_holds_anything(tmp_path):
    (tmp_path / "report.html").write_text("mine")
    with pytest.raises(UserError, match="not empty"):
        Report(tmp_path, "title")
    with pytest.raises(UserError, match="cannot write"):
        Report(tmp_path / "report.html", "title")
    assert (tmp_path / "report.html").read_text() == "mine"
