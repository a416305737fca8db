FROM busybox
WORKDIR /train
COPY --chown=1000:100 --chmod=0640 src/ src/
COPY --chown=nobody data/ data/
COPY notebooks/*.ipynb /notebooks/
ADD --chmod=0400 data/raw/numbers.csv /numbers.csv
RUN find . /notebooks /numbers.csv -type f | sort > /files
CMD ["cat", "/files"]
