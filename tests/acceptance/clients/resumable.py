"""An MLP on digits, in epochs, that saves model, optimiser and random state after each: however
often it is interrupted, the weights come out the same. It knows Middleman's variables and no
module of the platform.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import time
import warnings
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits
from sklearn.metrics import log_loss
from sklearn.neural_network import MLPClassifier

EPOCHS = int(os.environ.get("EPOCHS", "25"))
warnings.simplefilter("ignore")
digits = load_digits()
x, y = digits.data / 16, digits.target
train, held = slice(0, 1400), slice(1400, None)
folder = Path(os.environ["CHECKPOINT_DIR"])

resumed = os.environ.get("TRAINSHED_RESUME_FROM")
if resumed:
    newest = max(Path(resumed).glob("epoch-*.pkl"))
    epoch, model, order = pickle.loads(newest.read_bytes())
    print(f"Resumed after epoch {epoch}", flush=True)
else:
    epoch, order = 0, np.random.default_rng(7)
    model = MLPClassifier((48,), solver="adam", batch_size=70, random_state=7)

while epoch < EPOCHS:
    rows = order.permutation(1400)
    model.partial_fit(x[train][rows], y[train][rows], classes=range(10))
    epoch += 1
    loss = log_loss(y[held], model.predict_proba(x[held]))
    part = folder / ".tmp-state"
    part.write_bytes(pickle.dumps((epoch, model, order)))
    part.rename(folder / f"epoch-{epoch:03}.pkl")
    (folder / f"epoch-{epoch - 1:03}.pkl").unlink(missing_ok=True)
    print(f"Epoch {epoch}/{EPOCHS}, Loss: {loss:.6f}", flush=True)
    time.sleep(float(os.environ.get("PACE", "0.3")))

weights = b"".join(layer.tobytes() for layer in model.coefs_)
print(f"accuracy {model.score(x[held], y[held]):.6f} weights {hashlib.sha256(weights).hexdigest()}")
