# A Go program, from go.mod; port None
# syntax=docker/dockerfile:1

# GO is the version of Go to build with.
ARG GO=1.23

FROM golang:${GO} AS build

WORKDIR /src

# Dependencies first: this layer is reused until they change.
COPY go.mod ./
RUN --mount=type=cache,target=/go/pkg/mod go mod download

COPY . .

# Without cgo the program needs nothing else to run.
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    CGO_ENABLED=0 go build -trimpath -ldflags=-s -o /out/app ./cmd/another

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /out/app /app

# Not root.
USER 65534:65534

ENTRYPOINT ["/app"]
