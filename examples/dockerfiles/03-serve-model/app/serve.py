"""Serves a linear model: POST /predict {"x": [1, 2]}. With --check it predicts once and ends."""

import json
import os
import sys

import bottle

with open(os.environ["MODEL"]) as f:
    model = json.load(f)


def predict(x):
    return sum(w * v for w, v in zip(model["weights"], x, strict=True)) + model["bias"]


@bottle.post("/predict")
def handle():
    return {"y": predict(bottle.request.json["x"])}


if __name__ == "__main__":
    if "--check" in sys.argv:
        print("bottle", bottle.__version__, "predicts", predict([1.0, 2.0]))
    else:
        bottle.run(host="0.0.0.0", port=8000, quiet=True)
