import json
import os

from fastapi import FastAPI
from pydantic import BaseModel

api = FastAPI()
with open(os.environ["MODEL"]) as f:
    model = json.load(f)


class Point(BaseModel):
    x: float


@api.get("/health")
def health():
    return {"user": os.getuid()}


@api.post("/predict")
def predict(point: Point):
    return {"y": model["slope"] * point.x + model["offset"]}
