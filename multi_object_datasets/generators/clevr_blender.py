"""Renders CLEVR scenes with Blender as a module, without a display.

Blender keeps one scene for the whole process: this module builds the floor, lamps and camera when
it is imported, and `arrange` exchanges the objects. Import it in a worker process only.
"""

import math
import pathlib
import tempfile

import numpy as np

from multi_object_datasets.clevr_with_masks import IMAGE_SIZE, MAX_NUM_ENTITIES
from multi_object_datasets.errors import DatasetError
from multi_object_datasets.generators import clevr_layout as clevr

try:
    import bpy
    import mathutils
except ImportError as error:
    raise DatasetError(
        f"rendering CLEVR needs Blender as a Python module ({error}); "
        "install it with `pip install bpy==4.5.15` (Python 3.11, 800 MB)"
    ) from error

SAMPLES = 8  # Rays per pixel; the rest is the denoiser's. 16 look the same and take twice as long.
LABEL_STEP = 20  # Brightness from one entity to the next in the label rendering.

# Name: (edge, watts, colour).
LAMPS = {
    "key": (0.5, 78.54, (1.0, 0.932, 0.817)),
    "fill": (0.5, 23.56, (0.762, 0.818, 1.0)),
    "back": (1.0, 39.27, (1.0, 1.0, 1.0)),
}
SUN_STRENGTH, SUN_ANGLES = 0.45, (0.236, 0.4169, 0.0971)
FLOOR_COLOR = 0.8
# Half-size 1; width of the bevelled edges.
BEVELS = {"cube": 0.12, "cylinder": 0.06}


def _link(name, data):
    """Returns a new object of the scene."""
    thing = bpy.data.objects.new(name, data)
    bpy.context.scene.collection.objects.link(thing)
    return thing


def _aim(thing, position):
    """Puts a camera or lamp at a position, aimed at the origin."""
    axes = mathutils.Matrix(clevr.look_at_origin(position).T.tolist())
    thing.matrix_world = mathutils.Matrix.LocRotScale(mathutils.Vector(position), axes, None)


def _material(name):
    """Returns a new material, its emptied node tree and the socket of its surface."""
    material = bpy.data.materials.new(name)
    material.use_nodes = True
    tree = material.node_tree
    tree.nodes.clear()
    return material, tree, tree.nodes.new("ShaderNodeOutputMaterial").inputs["Surface"]


def _shader(tree, kind, color, roughness):
    """Returns the output of a new diffuse or glossy shader."""
    node = tree.nodes.new(f"ShaderNodeBsdf{kind}")
    node.inputs["Color"].default_value = (*color, 1)
    node.inputs["Roughness"].default_value = roughness
    return node.outputs[0]


def _mix(tree, first, second):
    """Returns a new node that mixes two shaders; its input 0 is the second one's share."""
    node = tree.nodes.new("ShaderNodeMixShader")
    tree.links.new(first, node.inputs[1])
    tree.links.new(second, node.inputs[2])
    return node


def _rubber(color):
    """Returns a diffuse material with a little gloss at grazing angles."""
    material, tree, surface = _material("rubber")
    mix = _mix(tree, _shader(tree, "Diffuse", color, 0), _shader(tree, "Glossy", (1, 1, 1), 0.2))
    fresnel = tree.nodes.new("ShaderNodeFresnel")
    fresnel.inputs["IOR"].default_value = 1.2
    tree.links.new(fresnel.outputs[0], mix.inputs[0])
    tree.links.new(mix.outputs[0], surface)
    return material


def _metal(color):
    """Returns a glossy material, 40% rough and 60% polished."""
    material, tree, surface = _material("metal")
    mix = _mix(tree, _shader(tree, "Glossy", color, 0.447), _shader(tree, "Glossy", color, 0.1))
    mix.inputs[0].default_value = 0.6
    tree.links.new(mix.outputs[0], surface)
    return material


def _flat(label):
    """Returns a material that shows a label as brightness."""
    material, tree, surface = _material(f"label {label}")
    node = tree.nodes.new("ShaderNodeEmission")
    node.inputs["Color"].default_value = (*[label * LABEL_STEP / 255] * 3, 1)
    tree.links.new(node.outputs[0], surface)
    return material


def _mesh(shape):
    """Returns the smooth mesh of a shape of half-size 1."""
    if shape == "sphere":
        # Blender orders the vertices of its UV sphere anew in every process.
        bpy.ops.mesh.primitive_ico_sphere_add(subdivisions=5, radius=1)
    elif shape == "cylinder":
        bpy.ops.mesh.primitive_cylinder_add(vertices=96, radius=1, depth=2)
    else:
        bpy.ops.mesh.primitive_cube_add(size=2)
    thing = bpy.context.object
    bpy.ops.object.shade_smooth()
    if shape in BEVELS:
        bevel = thing.modifiers.new("bevel", "BEVEL")
        bevel.width = BEVELS[shape]
        bevel.segments = 6
        bevel.harden_normals = True
    mesh = bpy.data.meshes.new_from_object(
        thing.evaluated_get(bpy.context.evaluated_depsgraph_get())
    )
    bpy.data.objects.remove(thing)
    return mesh


def _floor():
    """Builds the floor: flat under the objects, curving up into a wall far behind them."""
    away = -np.array(clevr.CAMERA[:2]) / np.hypot(*clevr.CAMERA[:2])
    across = np.array([-away[1], away[0]])
    start, radius = 22, 8
    bend = [
        (start + radius * math.sin(angle), radius - radius * math.cos(angle))
        for angle in np.linspace(0, math.pi / 2, 17)
    ]
    profile = [(-40, 0), *bend, (start + radius, 40)]  # (distance, height)
    vertices = [
        (*(distance * away + side * 60 * across), height)
        for distance, height in profile
        for side in (-1, 1)
    ]
    faces = [(2 * i, 2 * i + 1, 2 * i + 3, 2 * i + 2) for i in range(len(profile) - 1)]
    mesh = bpy.data.meshes.new("floor")
    mesh.from_pydata(vertices, [], faces)
    mesh.shade_smooth()
    material, tree, surface = _material("floor")
    tree.links.new(_shader(tree, "Diffuse", [FLOOR_COLOR] * 3, 0), surface)
    mesh.materials.append(material)
    return _link("floor", mesh)


def _lamps():
    """Builds the lamps; returns the three movable ones by name."""
    lamps = {}
    for name, (edge, watts, color) in LAMPS.items():
        lamp = bpy.data.lights.new(name, "AREA")
        lamp.shape, lamp.size, lamp.energy, lamp.color = "SQUARE", edge, watts, color
        lamps[name] = _link(name, lamp)
    sun = bpy.data.lights.new("sun", "SUN")
    sun.energy = SUN_STRENGTH
    _link("sun", sun).rotation_euler = SUN_ANGLES
    return lamps


def _camera():
    """Builds the camera."""
    camera = bpy.data.cameras.new("camera")
    camera.lens, camera.sensor_width = clevr.LENS, clevr.SENSOR_WIDTH
    thing = _link("camera", camera)
    bpy.context.scene.camera = thing
    return thing


def _settings():
    """Sets what both renderings share."""
    scene = bpy.context.scene
    scene.world = bpy.data.worlds.new("black")
    scene.world.use_nodes = True
    scene.world.node_tree.nodes["Background"].inputs["Strength"].default_value = 0
    render = scene.render
    render.engine = "CYCLES"
    render.resolution_y, render.resolution_x = IMAGE_SIZE
    render.threads_mode, render.threads = "FIXED", 1
    render.image_settings.file_format = "PNG"
    render.image_settings.color_mode = "RGB"
    render.image_settings.compression = 0
    render.dither_intensity = 0
    cycles = scene.cycles
    cycles.device = "CPU"
    cycles.use_adaptive_sampling = False
    cycles.use_light_tree = False  # With four lamps it costs more than it saves.
    cycles.max_bounces = 4
    cycles.denoiser = "OPENIMAGEDENOISE"
    # Colours and normals, which guide the denoiser, have next to no noise here.
    cycles.denoising_prefilter = "NONE"


def _render(percentage=100):
    """Renders the scene at a percentage of 240x320; returns uint8 [height, width, 3]."""
    height, width = (edge * percentage // 100 for edge in IMAGE_SIZE)
    bpy.context.scene.render.resolution_percentage = percentage
    with tempfile.TemporaryDirectory() as directory:
        path = pathlib.Path(directory, "image.png")
        bpy.context.scene.render.filepath = str(path)
        bpy.ops.render.render(write_still=True)
        image = bpy.data.images.load(str(path))
        image.colorspace_settings.name = "Non-Color"
        pixels = np.empty(height * width * 4, np.float32)
        image.pixels.foreach_get(pixels)
        bpy.data.images.remove(image)
    # Blender's first row is the lowest, its fourth channel opacity.
    pixels = pixels.reshape(height, width, 4)[::-1, :, :3]
    return np.round(pixels * 255).astype(np.uint8)


def _set(samples, filter_width, denoise, view, for_labels):
    """Switches between the two renderings."""
    scene = bpy.context.scene
    scene.cycles.samples = samples
    scene.cycles.use_denoising = denoise
    scene.cycles.pixel_filter_type = "BOX" if for_labels else "BLACKMAN_HARRIS"
    scene.cycles.filter_width = filter_width
    scene.view_settings.view_transform = view
    for thing in (_FLOOR, *_LAMPS.values(), bpy.data.objects["sun"]):
        thing.hide_render = for_labels
    for label, thing in enumerate(_objects, start=1):
        thing.material_slots[0].material = _FLAT[label] if for_labels else thing["look"]


def arrange(factors, view):
    """Puts the objects, camera and lamps of a scene in place.

    Args:
      factors, view: as `clevr_layout.sample` returns them.
    """
    for thing in _objects:
        bpy.data.objects.remove(thing)
    _objects.clear()
    for entity in range(1, int(factors["visibility"].sum())):
        shape = clevr.SHAPES[factors["shape"][entity] - 1]
        thing = _link(f"object {entity}", _MESHES[shape])
        thing.location = [float(factors[axis][entity]) for axis in "xyz"]
        # Degrees, but CLEVR handed them to the renderer as radians.
        thing.rotation_euler = (0, 0, float(factors["rotation"][entity]))
        thing.scale = [clevr.SIZES[factors["size"][entity] - 1]] * 3
        thing.material_slots[0].link = "OBJECT"
        thing["look"] = _LOOKS[factors["material"][entity], factors["color"][entity]]
        _objects.append(thing)
    _aim(_CAMERA, view["camera"])
    for name, lamp in _LAMPS.items():
        _aim(lamp, view[name])


def render_labels():
    """Renders which object each pixel's centre shows: uint8 [240, 320], 0 for the background."""
    _set(samples=1, filter_width=0.01, denoise=False, view="Raw", for_labels=True)
    brightness = _render()[..., 0]
    if (brightness % LABEL_STEP).any():
        raise RuntimeError("the label rendering mixed objects")
    return brightness // LABEL_STEP


def render_image(seed, percentage=100):
    """Renders the image at a percentage of 240x320: uint8 [height, width, 3]."""
    bpy.context.scene.cycles.seed = seed
    _set(samples=SAMPLES, filter_width=1.5, denoise=True, view="Standard", for_labels=False)
    return _render(percentage)


bpy.ops.wm.read_factory_settings(use_empty=True)
_settings()
_objects = []
_FLOOR = _floor()
_LAMPS = _lamps()
_CAMERA = _camera()
_MESHES = {shape: _mesh(shape) for shape in clevr.SHAPES}
for _mesh_data in _MESHES.values():
    _mesh_data.materials.append(None)
_FLAT = {label: _flat(label) for label in range(1, MAX_NUM_ENTITIES)}
# (material code, colour code): material. The colours count as linear light.
_LOOKS = {
    (material, color): make([channel / 255 for channel in clevr.COLORS[color - 1]])
    for material, make in enumerate((_rubber, _metal), start=1)
    for color in range(1, len(clevr.COLORS) + 1)
}
