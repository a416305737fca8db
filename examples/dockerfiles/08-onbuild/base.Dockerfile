# The base that a team shares: who builds on it needs a requirements.txt and a main.py, and nothing else.
#
#   ibuild build -f examples/dockerfiles/08-onbuild/base.Dockerfile -t REGISTRY/python-app --push examples/dockerfiles/08-onbuild
FROM python:3.11-slim-bookworm
ENV PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=/app/packages
WORKDIR /app
ONBUILD COPY requirements.txt ./
ONBUILD RUN --mount=type=cache,target=/root/.cache/pip,id=pip \
    pip install --no-compile --root-user-action=ignore --target=/app/packages -r requirements.txt
ONBUILD COPY --chmod=0644 main.py ./
ONBUILD LABEL team.base="python-app"
ENTRYPOINT ["python", "main.py"]
