"""Finds the packages; all else is in pyproject.toml.

The folder mlflow/ is no package (an __init__.py there would shadow the real mlflow); its files
travel in the wheel as data of `sweeps`, which no `find` of pyproject.toml can say.
"""

from setuptools import find_namespace_packages, setup

setup(
    packages=[
        *find_namespace_packages(include=["search_spaces", "sweeps*", "workers*"]),
        "sweeps.mlflow_files",
    ],
    package_dir={"sweeps.mlflow_files": "mlflow"},
)
