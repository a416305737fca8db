# The image that image.yaml starts from.
FROM python:3.11-slim-bookworm
RUN useradd --uid 1234 --home-dir /srv/model --create-home model
WORKDIR /srv/model
USER model
