# /// script
# requires-python = "==3.11.*"
# dependencies = ["pydantic==2.11.*"]
# ///
"""Checks the settings of a training job before it costs money."""

import json

from pydantic import BaseModel, Field, ValidationError


class Job(BaseModel):
    model: str
    epochs: int = Field(gt=0)
    learning_rate: float = Field(1e-3, gt=0, lt=1)


print(Job(model="mlp", epochs=3).model_dump_json())
try:
    Job(model="mlp", epochs=0, learning_rate=2)
except ValidationError as error:
    print(json.dumps([[*e["loc"], e["type"]] for e in error.errors()]))
