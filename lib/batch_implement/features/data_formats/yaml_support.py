"""Find and load PyYAML when a YAML file is read, and not before.

    yaml = yaml_support.load("features.yaml")

Hooks and batchctl start Python with `-I -S`: no site-packages, no `.pth` file, nothing from the project. So PyYAML is
searched for where this Python keeps its packages: those of its virtual environment, of the user, of the system. Never
inside the project or the working directory: reading a list must not run code of the project. `sys.path` does not
change.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import os
import shlex
import sys

from ...base import project_paths
from ...base.text import clean
from ..feature_list import FeatureListError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec
    from typing import Any, List, Optional, Tuple

MODULE = "yaml"


def load(name: str) -> Any:
    """Return PyYAML, which is loaded already or the first that is found.

    Raises FeatureListError, about the file `name`, if there is none or it cannot be used.
    """
    if MODULE in sys.modules:
        return sys.modules[MODULE]
    spec, refused = find_pyyaml(forbidden_folders())
    if spec is not None:
        return _import_pyyaml(spec, name)
    if refused is not None:
        raise FeatureListError(
            f"the PyYAML in {refused} is not used: it is inside the project or the working directory, where nothing is "
            "run from. Use a Python outside that has PyYAML, or write the list as .json.",
            "pyyaml-missing",
            name,
        )
    raise FeatureListError(
        f"PyYAML is not installed for {sys.executable}. Install it with `{_install_command()}`, or write the list as "
        ".json (`batchctl schema features` describes it).",
        "pyyaml-missing",
        name,
    )


def find_pyyaml(forbidden: List[str]) -> Tuple[Optional[ModuleSpec], Optional[str]]:
    """Return the first PyYAML that may be used, or None; and the folder of the first that may not be used, or None."""
    refused = None
    for folder in package_folders():
        spec = importlib.machinery.PathFinder.find_spec(MODULE, [folder])
        if spec is None or spec.loader is None or spec.origin is None:  # a folder of that name without a package
            continue
        if not any(_is_inside(place, inside) for place in (folder, spec.origin) for inside in forbidden):
            return spec, refused
        refused = refused or folder
    return None, refused


def package_folders() -> List[str]:
    """Return the folders where this Python keeps packages, in its order, whether they exist or not."""
    import site

    virtual_environment = find_virtual_environment()
    if virtual_environment is None:
        return [site.getusersitepackages(), *site.getsitepackages()]
    environment, sees_system = virtual_environment
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}{'t' if 't' in sys.abiflags else ''}"
    folders = [os.path.join(environment, lib, version, "site-packages") for lib in ("lib", "lib64")]
    if sees_system:
        folders += [site.getusersitepackages(), *site.getsitepackages([sys.base_prefix, sys.base_exec_prefix])]
    return folders


def find_virtual_environment() -> Optional[Tuple[str, bool]]:
    """Return the virtual environment of this Python, and whether it sees the system's packages; None without one."""
    # With `-S` Python itself does not look for `pyvenv.cfg`: beside the executable or one folder up (PEP 405).
    if not sys.executable:
        return None
    beside = os.path.dirname(os.path.abspath(sys.executable))
    for folder in (beside, os.path.dirname(beside)):
        try:
            with open(os.path.join(folder, "pyvenv.cfg"), encoding="utf-8", errors="replace") as file:
                settings = [line.partition("=") for line in file]
        except OSError:
            continue
        values = {key.strip().lower(): value.strip().lower() for key, _, value in settings}
        return folder, values.get("include-system-site-packages") == "true"
    return None


def forbidden_folders() -> List[str]:
    """Return the folders from which nothing may run: the project's root and the working directory."""
    cwd = os.getcwd()
    return [cwd, project_paths.project_root(os.environ, cwd)]


def _is_inside(path: str, folder: str) -> bool:
    path, folder = os.path.realpath(path), os.path.realpath(folder)
    return path == folder or path.startswith(os.path.join(folder, ""))


def _import_pyyaml(spec: ModuleSpec, name: str) -> Any:
    """Return the module, loaded by its path; if that fails, nothing of it stays loaded."""
    module: Any = importlib.util.module_from_spec(spec)
    sys.modules[MODULE] = module
    try:
        module.__loader__.exec_module(module)
        if not hasattr(module, "SafeLoader"):
            raise ImportError("this is another package named yaml")
    except Exception as error:
        for loaded in [each for each in sys.modules if each == MODULE or each.startswith(f"{MODULE}.")]:
            del sys.modules[loaded]
        raise FeatureListError(
            f"the PyYAML in {os.path.dirname(spec.origin or '')} cannot be loaded: {type(error).__name__}: "
            f"{clean(str(error))[:200]}. Install it again with `{_install_command()}`, or write the list as .json.",
            "pyyaml-missing",
            name,
        ) from error
    return module


def _install_command() -> str:
    return f"{shlex.quote(sys.executable or 'python3')} -m pip install pyyaml"
