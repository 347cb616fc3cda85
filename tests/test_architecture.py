"""What the import rules cannot say."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from contract.messages import PRESETS
from model import presets


def test_the_api_loads_no_torch() -> None:
    code = "import sys, app.main; print({'torch', 'model', 'numpy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_a_training_worker_loads_no_torch_but_for_a_gpu(tmp_path: Path) -> None:
    code = """
import sys
from worker import training_main
training_main.run_training_worker = lambda settings: print({"torch", "model", "numpy"} & set(sys.modules))
from cli.main import trainer
trainer()
"""
    environment = os.environ | {"VITGAN_DATA_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True
    )
    assert done.stdout.strip() == "set()"


def test_the_contract_names_the_presets_of_the_model() -> None:
    assert tuple(presets.PRESETS) == PRESETS
