# /// script
# requires-python = "==3.11.*"
# dependencies = ["httpx>=0.28,<0.29", "rich>=13,<15"]
# ///
"""A command-line report: asks a service for runs (here one that answers from memory) and prints a table."""

import httpx
from rich.console import Console
from rich.table import Table


def answer(request: httpx.Request) -> httpx.Response:
    runs = {"baseline": 0.71, "wider": 0.78, "longer": 0.81}
    return httpx.Response(200, json=runs)


with httpx.Client(transport=httpx.MockTransport(answer), base_url="http://runs.example") as client:
    runs = client.get("/runs").raise_for_status().json()

table = Table("run", "accuracy", box=None)
for name, accuracy in sorted(runs.items(), key=lambda run: -run[1]):
    table.add_row(name, f"{accuracy:.0%}")
Console(width=40, no_color=True).print(table)
