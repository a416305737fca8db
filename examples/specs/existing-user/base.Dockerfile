# The image that image.yaml starts from.
FROM busybox
RUN adduser -D -u 1234 model && mkdir -p /srv/model && chown model /srv/model
WORKDIR /srv/model
USER model
