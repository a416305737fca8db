import attrs


@attrs.frozen
class Feature:
    name: str
    size: int


def all_features():
    return [Feature("age", 4096), Feature("height", 65536)]
