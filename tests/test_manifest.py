import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from npe2 import PluginManifest

import napari_hrsr

ROOT = Path(__file__).parent.parent
PACKAGE = Path(napari_hrsr.__file__).parent
MANIFEST = PACKAGE / "napari.yaml"

DISCOVER = """
import sys
{start}
from npe2 import PluginManager
manager = PluginManager.instance()
manager.discover()
assert "napari-hrsr" in manager, list(manager)
print([m for m in sys.modules if m == "torch" or m.split(".")[0] == "napari_hrsr"])
"""

VIEWER = "import napari; viewer = napari.Viewer(show=False)"


@pytest.fixture(scope="module")
def manifest():
    return PluginManifest.from_file(MANIFEST)


def in_new_python(code):
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip().splitlines()[-1]


def test_the_manifest_is_valid_and_everything_it_names_exists():
    manifest = PluginManifest.from_file(MANIFEST)
    manifest.validate_imports()
    assert manifest.name == "napari-hrsr"


def test_the_link_at_the_top_is_the_manifest():
    link = ROOT / "napari.yaml"
    assert link.is_symlink()
    assert not link.readlink().is_absolute()
    assert link.resolve() == (ROOT / "src" / "napari_hrsr" / "napari.yaml").resolve()


def test_the_plugin_reads_and_writes_no_files_of_its_own(manifest):
    assert not manifest.contributions.readers
    assert not manifest.contributions.writers


def test_every_menu_is_one_that_napari_shows(manifest):
    from napari._app_model.constants._menus import is_menu_contributable

    submenus = {submenu.id for submenu in manifest.contributions.submenus}
    for menu in manifest.contributions.menus:
        assert is_menu_contributable(menu)
        assert menu in submenus or menu == "napari/layers/filter"


def test_the_version_is_said_once():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["version"] == napari_hrsr.__version__


@pytest.mark.parametrize("start", ["", VIEWER], ids=["npe2", "viewer"])
def test_discovering_the_plugin_imports_nothing_of_it(start):
    assert in_new_python(DISCOVER.format(start=start)) == "[]"


def test_the_menus_hold_the_widgets_and_the_commands(make_napari_viewer):
    from napari._app_model import get_app_model

    make_napari_viewer()
    app = get_app_model()
    items = app.menus.get_menu("napari/layers/filter")
    [submenu] = [item for item in items if getattr(item, "title", "") == "Super-resolution"]
    groups = [[i.command.title for i in g] for g in app.menus.iter_menu_groups(submenu.submenu)]
    assert groups == [
        [
            "Super-resolution (2D) (napari-hrsr)",
            "Super-resolution (3D) (napari-hrsr)",
            "Make isotropic (napari-hrsr)",
            "Fuse frames (napari-hrsr)",
            "Evaluate (napari-hrsr)",
            "Train (napari-hrsr)",
            "Explain (napari-hrsr)",
            "Models (napari-hrsr)",
        ],
        [
            "Super-resolve active layer x2 (napari-hrsr)",
            "Denoise active layer (napari-hrsr)",
            "Live view of active layer (napari-hrsr)",
            "Save result... (napari-hrsr)",
        ],
    ]


def test_a_wheel_holds_all_that_the_package_needs(tmp_path):
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "-o", tmp_path, ROOT],
        capture_output=True,
        check=True,
    )
    [wheel] = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        packed = set(archive.namelist())
    files = {
        f"napari_hrsr/{path.relative_to(PACKAGE).as_posix()}"
        for path in PACKAGE.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert files <= packed
    assert {
        "napari_hrsr/napari.yaml",
        "napari_hrsr/py.typed",
        "napari_hrsr/sample_data/cells.ome.tif",
        "napari_hrsr/sample_data/volume.ome.tif",
        "napari_hrsr/sample_data/ATTRIBUTION.md",
    } <= packed
    assert any(name.endswith(".safetensors") for name in packed)
