# What compose.yaml runs: the router, and two functions, each with its model. All of it is made from this checkout by
# `docker compose build`, with BuildKit (Docker 23; before that, DOCKER_BUILDKIT=1). These are the same programs and
# models as those of `make build`, laid out as `weir image build` does it without Docker.
FROM golang:1.26.8-bookworm AS go
WORKDIR /weir

# Python with TensorFlow, and the weights: as `make setup` does it.
FROM go AS python
RUN apt-get update \
 && apt-get install --yes --no-install-recommends python3-venv \
 && rm -rf /var/lib/apt/lists/*
COPY functions/export/requirements.txt functions/export/
RUN --mount=type=cache,target=/root/.cache/pip \
    python3 -m venv build/venv && build/venv/bin/pip install --requirement functions/export/requirements.txt

# SavedModels and sample photos, and what tells Go where TensorFlow is.
FROM python AS models
COPY functions/export/ functions/export/
COPY functions/imagenet/export.py functions/imagenet/labels.txt functions/imagenet/
COPY functions/embed/export.py functions/embed/
COPY router/web/samples/README.md router/web/samples/
RUN build/venv/bin/python functions/export/build.py --only samples --only imagenet --only embed

# The router, static. It is compiled while the models are made, and linked with the sample photos in it.
FROM go AS router-program
COPY . .
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    CGO_ENABLED=0 go build ./router ./router/static ./knative/cluster/dispatch \
 && CGO_ENABLED=0 go build -ldflags '-s -w' -o /out/ ./images/cmd/weir-ready
COPY --from=models /weir/router/web/samples/ router/web/samples/
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    CGO_ENABLED=0 go build -ldflags '-s -w' -o /out/ ./router/cmd/router

# The functions, and the libraries that they are linked to, TensorFlow's without symbols.
FROM models AS function-programs
COPY . .
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    GOENV=/weir/build/go.env go build -ldflags '-s -w' -o /out/ ./functions/imagenet ./functions/embed
RUN ldd /out/* | awk '$2 == "=>" { print $3, "/libraries/usr/local/lib/" $1 } $1 ~ "^/.*/ld-" { print $1, "/libraries" $1 }' | sort -u \
  | while read -r from to; do install -D "$from" "$to" || exit; done \
 && strip --strip-unneeded /libraries/usr/local/lib/libtensorflow*

# What every image has. There is no shell; weir-ready is for the health check.
FROM go AS files
RUN mkdir -p /files/etc/ssl/certs /files/tmp \
 && chmod 1777 /files/tmp \
 && printf 'root:x:0:0:root:/:/nonexistent\nweir:x:65532:65532:weir:/tmp:/nonexistent\n' >/files/etc/passwd \
 && printf 'root:x:0:\nweir:x:65532:\n' >/files/etc/group \
 && cp /etc/ssl/certs/ca-certificates.crt /files/etc/ssl/certs/

FROM scratch AS base
COPY --from=files /files/ /
COPY --from=router-program /out/weir-ready /usr/local/bin/
ENV PATH=/usr/local/bin
USER 65532:65532
EXPOSE 8080
HEALTHCHECK --interval=5s --timeout=4s --start-period=60s CMD ["weir-ready"]

FROM base AS router
COPY --from=router-program /out/router /usr/local/bin/
ENTRYPOINT ["router"]

FROM base AS function
COPY --from=function-programs /libraries/ /
ENV LD_LIBRARY_PATH=/usr/local/lib TF_CPP_MIN_LOG_LEVEL=2 TF_ENABLE_ONEDNN_OPTS=1

FROM function AS imagenet
COPY --from=function-programs /out/imagenet /usr/local/bin/
COPY --from=models /weir/build/models/imagenet/ /models/imagenet/
ENTRYPOINT ["imagenet"]

FROM function AS embed
COPY --from=function-programs /out/embed /usr/local/bin/
COPY --from=models /weir/build/models/embed/ /models/embed/
ENTRYPOINT ["embed"]
